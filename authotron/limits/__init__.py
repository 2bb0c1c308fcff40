"""What is scarce and shared among clients: queues, slots, memory, descriptors, failed passwords."""
