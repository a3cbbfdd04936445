//! Data structures that know no packets.
