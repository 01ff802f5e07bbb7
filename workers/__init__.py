"""Long jobs at work: the Celery application, its tasks, and the runner inside one process."""
