# Run mode hands over to the application; maintenance mode leaves the REPL to mpremote, without a watchdog.
if not _maintenance:  # noqa: F821 - set by boot.py
    import rack.start

    rack.start.main()
