"""What a run folder is: manifest, records, events and a lock; its writer, and the reader of a stretch."""
