"""On SIGUSR1 a process tells on stderr where each of its threads is. Imported by all that a soak starts."""

import faulthandler
import signal

faulthandler.register(signal.SIGUSR1, all_threads=True)
