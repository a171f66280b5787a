"""The names that several rooms must agree on: environment variables, and the files of a run and of a job's folder."""

# Environment variables. A user may set the first seven; the parent sets the rest for its workers.
CACHE = "DLCOMPARE_CACHE"  # folder for environments, wheels, certificates, trials
PLUGINS = "DLCOMPARE_PLUGINS"  # modules to load instead of the installed entry points; workers are told so
UMASK = "DLCOMPARE_UMASK"  # who may read what is made, as umask has it; by default 077, nobody else
MEMORY = "DLCOMPARE_MEMORY"  # bytes that one worker may take; by default a share of what is free
METERS = "DLCOMPARE_METERS"  # names of the meters that may be opened, "none" for none; by default all
RECORD_METERS = "DLCOMPARE_RECORD_METERS"  # file to which meters write what drivers answer
REPLAY_METERS = "DLCOMPARE_REPLAY_METERS"  # file from which they are answered instead
JOB_MARK = "DLCOMPARE_JOB"  # every process of a job carries it, however many sessions a launcher opens
PARENT = "DLCOMPARE_PARENT"  # pid of the program that started the job
RANK_IN = "DLCOMPARE_RANK_IN"  # the name of the variable in which the launcher tells a worker its rank
TURNS = "DLCOMPARE_TURNS"  # folder of the pipes by which a worker is told when it is its turn; unset: at once
RANK = "DLCOMPARE_RANK"  # of a worker, where the framework's launcher has no variable of its own

# Files of a run
PLAN = "plan.json"
RECORDS = "records.json"

# Files of a job's folder
JOB = "job.json"
BEGUN = "begun.json"  # what the parent knew when it started the job
LOG = "log.txt"
EVENTS = "events.jsonl"
RECORD = "record.json"
SAMPLES = "meters.jsonl"  # what meters read beside the job
STACKS = "stacks.txt"  # where the threads of the workers stood when a job was given up
WEIGHTS = "params.safetensors"  # what training leaves if it was told to keep it


def rank_file(rank: int | str) -> str:
    """Return the name of a rank's raw result; ``*`` for all of them."""
    return f"rank-{rank}.json"
