//! What is decided about requests.
