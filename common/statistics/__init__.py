"""What scores say about membership: ROC figures and their uncertainty. Arrays in, numbers out; nothing is printed."""
