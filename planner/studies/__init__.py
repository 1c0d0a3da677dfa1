"""One question a module: the public function, its result and its records."""
