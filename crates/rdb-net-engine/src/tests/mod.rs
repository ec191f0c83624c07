//! The engine, one sentence a test.
