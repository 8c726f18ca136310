"""What happens to a graph of Dynamo's before its operators are translated: it becomes functional."""
