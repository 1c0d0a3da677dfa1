"""How a server batches: the settings it runs with, from the runtime's defaults and what a scenario asks for."""
