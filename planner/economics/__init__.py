"""What machines cost to own, reserve and rent, and what their electricity costs and emits. See docs/economics.md."""
