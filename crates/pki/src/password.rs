//! Random passwords.

use rand::Rng;

/// A random text of the characters `a-z0-9`, each equally likely (docs/spec/cli.md §9.2). 20 of them hold 103 bits.
pub fn random_password(length: usize) -> String {
    const CHARACTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(CHARACTERS[random.random_range(0..CHARACTERS.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::random_password;

    #[test]
    fn a_password_has_the_length_and_only_the_characters_of_the_original() {
        let password = random_password(2000);
        assert_eq!(password.len(), 2000);
        assert!(
            password
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        );
        for wanted in b"az09" {
            assert!(
                password.bytes().any(|b| b == *wanted),
                "2000 characters without {}",
                char::from(*wanted)
            );
        }
    }
}
