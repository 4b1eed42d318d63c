package persistence

// InThread is what a test explains.
const InThread = inThread
