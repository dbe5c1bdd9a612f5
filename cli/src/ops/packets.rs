//! Capture files of tcpdump: reading the packets of one stream, writing those of several into one file (for `pcap`).
//! The format is the classic one: a header of 24 bytes, then each packet behind 16 bytes of time and lengths, all in
//! the byte order of the machine that wrote it.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// What no packet is longer than: the most that tcpdump captures.
const LONGEST: u32 = 262_144;

/// A packet: seconds, microseconds, length on the wire, bytes kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    seconds: u32,
    microseconds: u32,
    length: u32,
    data: Vec<u8>,
}

/// A stream of packets from one machine.
pub struct Source<R> {
    stream: R,
    little_endian: bool,
    nanoseconds: bool,
}

impl<R: AsyncRead + Unpin> Source<R> {
    /// Reads the header. `Ok(None)`: the stream ended before one came.
    pub async fn open(mut stream: R) -> Result<Option<Self>, String> {
        let mut header = [0; 24];
        if stream.read_exact(&mut header).await.is_err() {
            return Ok(None);
        }
        let magic = [header[0], header[1], header[2], header[3]];
        let kinds = [
            (u32::from_le_bytes(magic), true),
            (u32::from_be_bytes(magic), false),
        ];
        for (magic, little_endian) in kinds {
            if matches!(magic, MICROSECONDS | NANOSECONDS) {
                return Ok(Some(Source {
                    stream,
                    little_endian,
                    nanoseconds: magic == NANOSECONDS,
                }));
            }
        }
        Err("what tcpdump sent is no capture".to_owned())
    }

    /// The next packet; `None` at the end, also when the last one is cut off.
    pub async fn next(&mut self) -> Result<Option<Packet>, String> {
        let mut header = [0; 16];
        if self.stream.read_exact(&mut header).await.is_err() {
            return Ok(None);
        }
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            match self.little_endian {
                true => u32::from_le_bytes(bytes),
                false => u32::from_be_bytes(bytes),
            }
        };
        let kept = word(8);
        if kept > LONGEST {
            return Err(format!("a packet of {kept} bytes is longer than any"));
        }
        let packet = Packet {
            seconds: word(0),
            microseconds: word(4) / if self.nanoseconds { 1000 } else { 1 },
            length: word(12),
            data: vec![0; kept as usize],
        };
        let mut data = packet.data;
        if self.stream.read_exact(&mut data).await.is_err() {
            return Ok(None);
        }
        Ok(Some(Packet { data, ..packet }))
    }
}

/// The header of a file of Ethernet packets.
pub async fn write_header<W: AsyncWrite + Unpin>(to: &mut W, snaplen: u32) -> std::io::Result<()> {
    to.write_all(&MICROSECONDS.to_le_bytes()).await?;
    to.write_all(&2u16.to_le_bytes()).await?;
    to.write_all(&4u16.to_le_bytes()).await?;
    to.write_all(&[0; 8]).await?;
    to.write_all(&snaplen.to_le_bytes()).await?;
    to.write_all(&1u32.to_le_bytes()).await
}

/// One packet.
pub async fn write_packet<W: AsyncWrite + Unpin>(
    to: &mut W,
    packet: &Packet,
) -> std::io::Result<()> {
    for word in [
        packet.seconds,
        packet.microseconds,
        packet.data.len() as u32,
        packet.length,
    ] {
        to.write_all(&word.to_le_bytes()).await?;
    }
    to.write_all(&packet.data).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn big_endian(magic: u32, words: [u32; 4], data: &[u8]) -> Vec<u8> {
        let mut bytes = magic.to_be_bytes().to_vec();
        bytes.extend([0; 20]);
        for word in words {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(data);
        bytes
    }

    #[tokio::test]
    async fn packets_of_other_byte_orders_are_written_in_one() {
        let stream = big_endian(NANOSECONDS, [7, 5000, 3, 60], b"abc");
        let mut source = Source::open(&stream[..]).await.unwrap().unwrap();
        let packet = source.next().await.unwrap().unwrap();
        assert_eq!(source.next().await, Ok(None));
        let mut file = Vec::new();
        write_header(&mut file, 65535).await.unwrap();
        write_packet(&mut file, &packet).await.unwrap();
        let mut again = Source::open(&file[..]).await.unwrap().unwrap();
        let read = again.next().await.unwrap().unwrap();
        assert_eq!(read, packet);
        assert_eq!((read.seconds, read.microseconds, read.length), (7, 5, 60));
    }

    #[tokio::test]
    async fn what_is_no_capture_is_refused() {
        let stream = [b'x'; 64];
        assert!(Source::open(&stream[..]).await.is_err());
        let long = big_endian(MICROSECONDS, [0, 0, u32::MAX, 0], b"");
        let mut source = Source::open(&long[..]).await.unwrap().unwrap();
        assert!(source.next().await.is_err());
    }
}
