/** A curve as sound: the loss on the left ear, the chosen weight on the right, pitch for height. */

const SECONDS = 2.4;

/**
 * @param {{steps: ArrayLike<number>, values: ArrayLike<number>}[]} curves the first left, the second right
 * @returns {boolean} whether it plays
 */
export function play(curves) {
  const Context = globalThis.AudioContext ?? /** @type {any} */ (globalThis).webkitAudioContext;
  if (!Context) return false;
  const context = new Context();
  const volume = context.createGain();
  volume.gain.value = 0.08;
  volume.connect(context.destination);
  const begin = context.currentTime + 0.05;
  const last = Math.max(1, ...curves.map(({ steps }) => steps[steps.length - 1] ?? 1));
  curves.forEach(({ steps, values }, voice) => {
    const finite = Array.from(values).filter(Number.isFinite);
    if (!finite.length) return;
    const [low, high] = [finite.reduce((a, b) => Math.min(a, b)), finite.reduce((a, b) => Math.max(a, b))];
    const tone = context.createOscillator();
    const pan = context.createStereoPanner();
    pan.pan.value = voice ? 0.8 : -0.8;
    tone.connect(pan).connect(volume);
    const every = Math.max(1, Math.floor(steps.length / 240));
    for (let at = 0; at < steps.length; at += every) {
      if (!Number.isFinite(values[at])) continue;
      tone.frequency.linearRampToValueAtTime(220 * 2 ** ((2 * (values[at] - low)) / (high - low || 1)), begin + (steps[at] / last) * SECONDS);
    }
    tone.start(begin);
    tone.stop(begin + SECONDS);
  });
  setTimeout(() => context.close(), (SECONDS + 0.5) * 1000);
  return true;
}
