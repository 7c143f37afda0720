"""The command line, one file per command. Nothing here imports torch or MuJoCo before a command needs it."""
