"""Parts of stages that several of them share."""
