"""The native loop that works through a program's kernels, alone or together with other threads.

A job is a list of groups. A group is a few kernels over the same range of tasks; threads take chunks of it,
do all the group's kernels on the chunk, and add the chunk to the group's count of done tasks. The range is
cut into parts with a counter each: a thread begins with its own part, the same one in every group and every
run, so that it gets the images or rows that it had before, which are in its cache, and then helps with the
others. A group that needs the results of earlier ones first waits until their counts are full. Nobody waits
for a thread, only for work: a thread that wakes late or is held up by the system delays only its own chunk.

What a group makes for itself alone lies in memory of the thread's own, large enough for one chunk: before
each chunk the thread writes into its own copies of the kernels' arguments where the images of these buffers
would begin. The next chunk finds that memory in the cache, so it need not be written back.

Which thread does a task never changes its result, so results do not depend on the number of threads.
"""

from string import Template

# Offsets in the structures that Python and the native loop share, in 64-bit words.
#
# A group. wait_from, wait_to: groups whose tasks must be done before this one starts (none if equal);
# guard: address of a float32, or 0: the group's kernels are skipped unless it is finite; tasks, chunk: number
# of tasks, and how many to take at once; first, count: its commands; local: address of its LOCAL, or 0;
# words: of a whole group.
GROUP = {
    "wait_from": 0,
    "guard": 1,
    "tasks": 2,
    "chunk": 3,
    "first": 4,
    "count": 5,
    "wait_to": 6,
    "local": 7,
    "words": 8,
}
# Buffers of a group that each of so many workers has memory of its own for: their number, that of the places
# in arguments, address of the first worker's memory, bytes from one worker's to the next, then the places.
# The commands of a group are there once for each worker. A place: number of the command, of the argument,
# bytes from the start of a worker's memory, and of an image. Workers beyond that number leave the group to
# the others.
LOCAL = {"workers": 0, "count": 1, "memory": 2, "stride": 3, "places": 4}
PLACE = {"command": 0, "argument": 1, "offset": 2, "image": 3, "words": 4}
# A job: addresses of groups, commands (function and arguments) and counters, the number of groups, the
# address of the function that lets others run, and the number of parts that ranges of tasks are cut into.
JOB = {"groups": 0, "commands": 1, "counters": 2, "group_count": 3, "yield": 4, "parts": 5, "words": 6}
# Parts at most: a thread looks at all of them before it leaves a group.
MAX_PARTS = 4
# The counters of a group, each on its own cache line: tasks done, then chunks taken of each part.
COUNTERS = {"done": 0, "taken": 8, "line": 8, "words": 8 + 8 * MAX_PARTS}
# The pool's block, each on its own cache line; from `asleep` on a line for every helper.
POOL = {"ticket": 0, "busy": 8, "job": 16, "asleep": 24, "line": 8}

RUNTIME = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i64 @llvm.smin.i64(i64, i64)

; One group after another, until all tasks of the job are done. The caller is worker 0, helper i worker i + 1.
define void @kl_work(ptr %job, i64 %worker) nounwind {
entry:
  %groups = load ptr, ptr %job
  %commands.p = getelementptr i64, ptr %job, i64 $job_commands
  %commands = load ptr, ptr %commands.p
  %counters.p = getelementptr i64, ptr %job, i64 $job_counters
  %counters = load ptr, ptr %counters.p
  %n.p = getelementptr i64, ptr %job, i64 $job_group_count
  %n = load i64, ptr %n.p
  %yield.p = getelementptr i64, ptr %job, i64 $job_yield
  %yield = load ptr, ptr %yield.p
  %parts.p = getelementptr i64, ptr %job, i64 $job_parts
  %parts = load i64, ptr %parts.p
  br label %next
next:
  %g = phi i64 [ 0, %entry ], [ %g.next, %after ]
  %more = icmp slt i64 %g, %n
  br i1 %more, label %group, label %finish
group:
  %word = mul i64 %g, $group_words
  %gp = getelementptr i64, ptr %groups, i64 %word
  %from = load i64, ptr %gp
  %to.p = getelementptr i64, ptr %gp, i64 $group_wait_to
  %to = load i64, ptr %to.p
  %waits = icmp slt i64 %from, %to
  br i1 %waits, label %wait, label %ready
wait:
  call void @kl_wait(ptr %groups, ptr %counters, i64 %from, i64 %to, ptr %yield)
  br label %ready
ready:
  %guard.p = getelementptr i64, ptr %gp, i64 $group_guard
  %guard = load ptr, ptr %guard.p
  %guarded = icmp ne ptr %guard, null
  br i1 %guarded, label %check, label %open
check:
  %loss = load float, ptr %guard
  %difference = fsub float %loss, %loss
  %finite = fcmp oeq float %difference, 0.0
  br label %open
open:
  %allowed = phi i1 [ true, %ready ], [ %finite, %check ]
  %tasks.p = getelementptr i64, ptr %gp, i64 $group_tasks
  %tasks = load i64, ptr %tasks.p
  %chunk.p = getelementptr i64, ptr %gp, i64 $group_chunk
  %chunk = load i64, ptr %chunk.p
  %first.p = getelementptr i64, ptr %gp, i64 $group_first
  %first = load i64, ptr %first.p
  %count.p = getelementptr i64, ptr %gp, i64 $group_count
  %count = load i64, ptr %count.p
  %line = mul i64 %g, $counters_words
  %done = getelementptr i64, ptr %counters, i64 %line
  %taken = getelementptr i64, ptr %done, i64 $counters_taken
  %chunks0 = add i64 %tasks, %chunk
  %chunks1 = sub i64 %chunks0, 1
  %chunks = sdiv i64 %chunks1, %chunk
  %local.p = getelementptr i64, ptr %gp, i64 $group_local
  %local = load ptr, ptr %local.p
  %is.local = icmp ne ptr %local, null
  br i1 %is.local, label %own, label %claim
own:
  %workers.p = getelementptr i64, ptr %local, i64 $local_workers
  %workers = load i64, ptr %workers.p
  %has.memory = icmp slt i64 %worker, %workers
  br i1 %has.memory, label %enter, label %after
enter:
  %passed = mul i64 %worker, %count
  %first.own = add i64 %first, %passed
  br label %claim
claim:
  %start = phi i64 [ %first, %open ], [ %first.own, %enter ], [ %start, %count_done ], [ %start, %empty ]
  %turn = phi i64 [ 0, %open ], [ 0, %enter ], [ %turn, %count_done ], [ %turn.next, %empty ]
  %last = add i64 %start, %count
  %number = add i64 %worker, %turn
  %part = srem i64 %number, %parts
  %from0 = mul i64 %chunks, %part
  %from1 = sdiv i64 %from0, %parts
  %part.next = add i64 %part, 1
  %to0 = mul i64 %chunks, %part.next
  %to1 = sdiv i64 %to0, %parts
  %size = sub i64 %to1, %from1
  %part.word = mul i64 %part, $counters_line
  %taken.p = getelementptr i64, ptr %taken, i64 %part.word
  %before = load atomic i64, ptr %taken.p monotonic, align 8
  %some = icmp slt i64 %before, %size
  br i1 %some, label %take, label %empty
take:
  %got = atomicrmw add ptr %taken.p, i64 1 acq_rel
  %any = icmp slt i64 %got, %size
  br i1 %any, label %bounds, label %empty
empty:
  %turn.next = add i64 %turn, 1
  %others = icmp slt i64 %turn.next, %parts
  br i1 %others, label %claim, label %after
bounds:
  %chunk.number = add i64 %from1, %got
  %lo = mul i64 %chunk.number, %chunk
  %end = add i64 %lo, %chunk
  %hi = call i64 @llvm.smin.i64(i64 %end, i64 %tasks)
  br i1 %allowed, label %prepare, label %count_done
prepare:
  br i1 %is.local, label %own_memory, label %command
own_memory:
  call void @kl_own_memory(ptr %local, ptr %commands, i64 %start, i64 %worker, i64 %lo)
  br label %command
command:
  %c = phi i64 [ %start, %prepare ], [ %start, %own_memory ], [ %c.next, %command ]
  %c.word = mul i64 %c, 2
  %cp = getelementptr i64, ptr %commands, i64 %c.word
  %fn = load ptr, ptr %cp
  %args = getelementptr i64, ptr %cp, i64 1
  %arguments = load ptr, ptr %args
  call void %fn(ptr %arguments, i64 %lo, i64 %hi)
  %c.next = add i64 %c, 1
  %again = icmp slt i64 %c.next, %last
  br i1 %again, label %command, label %count_done
count_done:
  %did = sub i64 %hi, %lo
  %old = atomicrmw add ptr %done, i64 %did acq_rel
  br label %claim
after:
  %g.next = add i64 %g, 1
  br label %next
finish:
  call void @kl_wait(ptr %groups, ptr %counters, i64 0, i64 %n, ptr %yield)
  ret void
}

; Before a chunk that begins with task `lo`: where the buffers of a worker's own would have their first image.
define void @kl_own_memory(ptr %local, ptr %commands, i64 %first, i64 %worker, i64 %lo) nounwind {
entry:
  %count.p = getelementptr i64, ptr %local, i64 $local_count
  %count = load i64, ptr %count.p
  %memory.p = getelementptr i64, ptr %local, i64 $local_memory
  %memory = load i64, ptr %memory.p
  %stride.p = getelementptr i64, ptr %local, i64 $local_stride
  %stride = load i64, ptr %stride.p
  %passed = mul i64 %worker, %stride
  %base = add i64 %memory, %passed
  %places = getelementptr i64, ptr %local, i64 $local_places
  br label %next
next:
  %p = phi i64 [ 0, %entry ], [ %p.next, %one ]
  %more = icmp slt i64 %p, %count
  br i1 %more, label %one, label %finish
one:
  %word = mul i64 %p, $place_words
  %place = getelementptr i64, ptr %places, i64 %word
  %command.p = getelementptr i64, ptr %place, i64 $place_command
  %command = load i64, ptr %command.p
  %argument.p = getelementptr i64, ptr %place, i64 $place_argument
  %argument = load i64, ptr %argument.p
  %offset.p = getelementptr i64, ptr %place, i64 $place_offset
  %offset = load i64, ptr %offset.p
  %image.p = getelementptr i64, ptr %place, i64 $place_image
  %image = load i64, ptr %image.p
  %before = mul i64 %lo, %image
  %here = add i64 %base, %offset
  %address = sub i64 %here, %before
  %c = add i64 %first, %command
  %c.word = mul i64 %c, 2
  %c.word2 = add i64 %c.word, 1
  %cp = getelementptr i64, ptr %commands, i64 %c.word2
  %arguments = load ptr, ptr %cp
  %slot = getelementptr i64, ptr %arguments, i64 %argument
  store i64 %address, ptr %slot
  %p.next = add i64 %p, 1
  br label %next
finish:
  ret void
}

; One turn of waiting: at first a breath, later let others run.
define void @kl_pause(i64 %turn, ptr %yield) nounwind {
entry:
  %tired = icmp sgt i64 %turn, 4000
  br i1 %tired, label %rest, label %breathe
breathe:
  PAUSE
  ret void
rest:
  call i32 %yield()
  ret void
}

; Until all tasks of the groups [from, to) are done: spin, then let others run.
define void @kl_wait(ptr %groups, ptr %counters, i64 %from, i64 %to, ptr %yield) nounwind {
entry:
  br label %next
next:
  %g = phi i64 [ %from, %entry ], [ %g.next, %full ]
  %more = icmp slt i64 %g, %to
  br i1 %more, label %look, label %finish
look:
  %word = mul i64 %g, $group_words
  %word2 = add i64 %word, $group_tasks
  %tasks.p = getelementptr i64, ptr %groups, i64 %word2
  %tasks = load i64, ptr %tasks.p
  %line = mul i64 %g, $counters_words
  %line2 = add i64 %line, $counters_done
  %done.p = getelementptr i64, ptr %counters, i64 %line2
  br label %spin
spin:
  %turn = phi i64 [ 0, %look ], [ %turn.next, %patience ]
  %done = load atomic i64, ptr %done.p acquire, align 8
  %is.full = icmp sge i64 %done, %tasks
  br i1 %is.full, label %full, label %patience
patience:
  %turn.next = add i64 %turn, 1
  call void @kl_pause(i64 %turn.next, ptr %yield)
  br label %spin
full:
  %g.next = add i64 %g, 1
  br label %next
finish:
  ret void
}

; The caller's part: work, close the job, wait for helpers to leave.
define void @kl_run(ptr %pool, ptr %job) nounwind {
entry:
  call void @kl_work(ptr %job, i64 0)
  store atomic i64 0, ptr %pool seq_cst, align 8
  %busy = getelementptr i64, ptr %pool, i64 $pool_busy
  %yield.p = getelementptr i64, ptr %job, i64 $job_yield
  %yield = load ptr, ptr %yield.p
  br label %spin
spin:
  %turn = phi i64 [ 0, %entry ], [ %turn.next, %patience ]
  %inside = load atomic i64, ptr %busy seq_cst, align 8
  %left = icmp eq i64 %inside, 0
  br i1 %left, label %finish, label %patience
patience:
  %turn.next = add i64 %turn, 1
  call void @kl_pause(i64 %turn.next, ptr %yield)
  br label %spin
finish:
  ret void
}

; Open a job for helpers.
define void @kl_open(ptr %pool, ptr %job, i64 %ticket) nounwind {
entry:
  %counters.p = getelementptr i64, ptr %job, i64 $job_counters
  %counters = load ptr, ptr %counters.p
  %n.p = getelementptr i64, ptr %job, i64 $job_group_count
  %n = load i64, ptr %n.p
  %bytes = mul i64 %n, $counters_bytes
  call void @llvm.memset.p0.i64(ptr %counters, i8 0, i64 %bytes, i1 false)
  %job.p = getelementptr i64, ptr %pool, i64 $pool_job
  %address = ptrtoint ptr %job to i64
  store atomic i64 %address, ptr %job.p seq_cst, align 8
  store atomic i64 %ticket, ptr %pool seq_cst, align 8
  ret void
}

; After opening: which of the helpers [from, to), at most 64 of them, sleep and have to be woken by the
; caller, as bits counted from helper `from`.
define i64 @kl_sleeping(ptr %pool, i64 %from, i64 %to) nounwind {
entry:
  br label %next
next:
  %h = phi i64 [ %from, %entry ], [ %h.next, %one ]
  %set = phi i64 [ 0, %entry ], [ %set.next, %one ]
  %more = icmp slt i64 %h, %to
  br i1 %more, label %one, label %finish
one:
  %word = mul i64 %h, $pool_line
  %word2 = add i64 %word, $pool_asleep
  %flag = getelementptr i64, ptr %pool, i64 %word2
  %pair = cmpxchg ptr %flag, i64 1, i64 0 seq_cst seq_cst
  %slept = extractvalue { i64, i1 } %pair, 1
  %place = sub i64 %h, %from
  %bit = shl i64 1, %place
  %add = select i1 %slept, i64 %bit, i64 0
  %set.next = or i64 %set, %add
  %h.next = add i64 %h, 1
  br label %next
finish:
  ret i64 %set
}

; A helper's part: take part in jobs as they are opened; after a while without one, fall asleep (return).
; Returns when asleep; the flag of helper `number` is then 1, and only `kl_sleeping` and itself clear it.
define void @kl_serve(ptr %pool, i64 %number, ptr %yield, i64 %patience) nounwind {
entry:
  %busy = getelementptr i64, ptr %pool, i64 $pool_busy
  %job.p = getelementptr i64, ptr %pool, i64 $pool_job
  %word = mul i64 %number, $pool_line
  %word2 = add i64 %word, $pool_asleep
  %flag = getelementptr i64, ptr %pool, i64 %word2
  br label %idle
idle:
  %seen = phi i64 [ 0, %entry ], [ %ticket, %worked ], [ %ticket, %missed ], [ %seen, %woken ]
  br label %spin
spin:
  %turn = phi i64 [ 0, %idle ], [ %turn.next, %wait ]
  %ticket = load atomic i64, ptr %pool seq_cst, align 8
  %is.open = icmp ne i64 %ticket, 0
  %is.new = icmp ne i64 %ticket, %seen
  %go = and i1 %is.open, %is.new
  br i1 %go, label %enter, label %wait
wait:
  %turn.next = add i64 %turn, 1
  PAUSE
  %enough = icmp sgt i64 %turn.next, %patience
  br i1 %enough, label %sleep, label %spin
enter:
  %b0 = atomicrmw add ptr %busy, i64 1 seq_cst
  %now = load atomic i64, ptr %pool seq_cst, align 8
  %same = icmp eq i64 %now, %ticket
  br i1 %same, label %work, label %missed
work:
  %address = load atomic i64, ptr %job.p seq_cst, align 8
  %job = inttoptr i64 %address to ptr
  %worker = add i64 %number, 1
  call void @kl_work(ptr %job, i64 %worker)
  br label %worked
worked:
  %b1 = atomicrmw sub ptr %busy, i64 1 seq_cst
  br label %idle
missed:
  %b2 = atomicrmw sub ptr %busy, i64 1 seq_cst
  br label %idle
sleep:
  store atomic i64 1, ptr %flag seq_cst, align 8
  %last = load atomic i64, ptr %pool seq_cst, align 8
  %last.open = icmp ne i64 %last, 0
  %last.new = icmp ne i64 %last, %seen
  %missing = and i1 %last.open, %last.new
  br i1 %missing, label %awake, label %finish
awake:
  %pair = cmpxchg ptr %flag, i64 1, i64 0 seq_cst seq_cst
  %mine = extractvalue { i64, i1 } %pair, 1
  br i1 %mine, label %woken, label %finish
woken:
  br label %idle
finish:
  ret void
}
"""


def runtime_text(is_x86: bool) -> str:
    """The runtime as LLVM IR for this architecture."""
    pause = "call void @llvm.x86.sse2.pause()" if is_x86 else 'call void asm sideeffect "yield", ""()'
    declare = "declare void @llvm.x86.sse2.pause()\n" if is_x86 else ""
    structures = {
        "group": GROUP,
        "job": JOB,
        "local": LOCAL,
        "place": PLACE,
        "counters": COUNTERS,
        "pool": POOL,
    }
    offsets = {f"{name}_{word}": at for name, words in structures.items() for word, at in words.items()}
    text = Template(RUNTIME).substitute(offsets, counters_bytes=8 * COUNTERS["words"])
    return declare + text.replace("PAUSE", pause)
