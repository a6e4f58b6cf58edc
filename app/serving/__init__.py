"""Serving: what stands between callers' connections and the threads that answer them.

A thread is for work, never for waiting on somebody at the other end of a wire. `arrival` tells when a request
is complete, `worker` collects requests until they are and only then gives them to a thread, and `readers` bounds
how long, and how many, readers keep a thread busy who do not take their answers.
"""
