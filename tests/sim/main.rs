//! Routers and hosts in virtual time, in this process: one test for each thing that a router must do.
