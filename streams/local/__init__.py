"""Commands that need no server: `fvq score` (files) and `fvq up` (broker, worker and store on one machine)."""
