"""A batch of stages on a job system or a local queue: submitted, watched, mended, collected."""
