"""Rewrites of what windows of steps, crops and poolings leave unread or write as zeros."""
