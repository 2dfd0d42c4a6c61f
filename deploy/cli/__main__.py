"""`python -m deploy.cli`: the `brigade` command of this very Python."""

from deploy.cli import main

main()
