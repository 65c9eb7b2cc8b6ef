"""`python -m cellguard`: the same as the command, for the processes that cellguard starts itself."""

from __future__ import annotations

from cellguard.main import main

if __name__ == "__main__":
    main()
