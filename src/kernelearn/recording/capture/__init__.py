"""What the Recorder takes, and how often: the selection, probe images, place in a run, time and budget."""
