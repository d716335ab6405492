//! Run, verify, inspect, prove: the library and the replay binary.
