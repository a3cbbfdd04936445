//! What a TFTP client asks for: it will be answered from another port than it asked (RFC 1350 4).

/// The port that is asked.
pub const PORT: u16 = 69;

/// Whether a datagram asks to read or to write a file (RFC 1350 5).
pub fn is_request(payload: &[u8]) -> bool {
    const READ: [u8; 2] = [0, 1];
    const WRITE: [u8; 2] = [0, 2];
    payload.first_chunk().is_some_and(|kind| [READ, WRITE].contains(kind))
}
