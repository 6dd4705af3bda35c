/* A library, to be preloaded, whose thread-local variables are larger than the stacks that civetweb asks for. */
__thread volatile char big_tls[160 << 10];
