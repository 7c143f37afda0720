"""What a certificate is made of: policies that know the task, that don't, and that know a wrong one, played on test tasks."""
