"""How a call gets in: the observer, spans and decorators, one small file per SDK."""
