"""One file per subcommand of `c2f-train`: NAME, HELP, `configure(parser)` and `run(options)`. torch is imported in `run` only."""
