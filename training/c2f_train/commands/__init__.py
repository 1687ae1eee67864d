"""A file per subcommand of `c2f-train`: NAME, HELP, `configure(parser)`, `run(options)`. torch comes in `run` only."""
