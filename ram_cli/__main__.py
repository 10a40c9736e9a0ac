"""`python -m ram_cli`, which launchers of several processes start."""

from ram_cli.cli.main import main

if __name__ == "__main__":
    main()
