"""Ways to meta-train on learning histories or tasks, and to adapt to tasks never seen."""
