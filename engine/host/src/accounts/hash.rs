//! Passwords of normal sign-on: Argon2id, a few at a time.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::error::AccountsError;
use super::secret::{GENERATED, Password};
use crate::random::random;

/// Memory of one check, in KiB.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over it.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// Checks at a time, so that many of them do not fill the memory.
const AT_ONCE: usize = 4;

/// Makes and checks hashes. Clones share the count of checks.
#[derive(Clone)]
pub(super) struct Hasher {
    places: Arc<Semaphore>,
    memory: Memory,
    /// Of a password that nobody knows: checked for names that do not exist, so that they take as long (S-32).
    nobody: Arc<str>,
}

impl Hasher {
    pub(super) fn new() -> Result<Self, AccountsError> {
        let unknown = Password::generate(GENERATED).ok_or(AccountsError::Resources)?;
        Ok(Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            memory: Memory::default(),
            nobody: hash(unknown.expose().as_bytes())?.into(),
        })
    }

    /// The hash of a new password, as a PHC string.
    pub(super) async fn hash(&self, password: &Password) -> Result<String, AccountsError> {
        let password = password.clone();
        self.compute(move || hash(password.expose().as_bytes()))
            .await
    }

    /// Whether the password is the one that was hashed; with no hash it is not, which takes as long.
    pub(super) async fn check(
        &self,
        password: &[u8],
        stored: Option<String>,
    ) -> Result<bool, AccountsError> {
        let password = Zeroizing::new(password.to_vec());
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.as_ref().to_owned());
        let memory = self.memory.clone();
        let fits = self
            .compute(move || verify(&memory, &password, &stored))
            .await?;
        Ok(known && fits)
    }

    /// The place is kept until the work is done, even if nobody waits for it any more.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, AccountsError> {
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| AccountsError::Resources)?;
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        })
        .await
        .map_err(|_| AccountsError::Resources)?
    }
}

/// What checks work in, used again and again: many allocators never give so much back that each of many threads had once.
/// There is no more of it than checks at a time.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<Vec<Block>>>>);

impl Memory {
    fn take(&self, blocks: usize) -> Result<Vec<Block>, AccountsError> {
        let mut memory = self.lock().pop().unwrap_or_default();
        let missing = blocks.saturating_sub(memory.len());
        memory
            .try_reserve_exact(missing)
            .map_err(|_| AccountsError::Resources)?;
        memory.resize(blocks, Block::new());
        Ok(memory)
    }

    fn give_back(&self, memory: Vec<Block>) {
        self.lock().push(memory);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Block>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn argon2() -> Result<Argon2<'static>, AccountsError> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| AccountsError::Resources)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<String, AccountsError> {
    let salt: [u8; 16] = random().map_err(|_| AccountsError::Resources)?;
    argon2()?
        .hash_password_with_salt(password, &salt)
        .map(|hash| hash.to_string())
        .map_err(|_| AccountsError::Resources)
}

/// With the parameters of the stored hash, which may be older than ours.
fn verify(memory: &Memory, password: &[u8], stored: &str) -> Result<bool, AccountsError> {
    let stored = PasswordHash::new(stored).map_err(damaged)?;
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(damaged)?;
    let version = stored.version.map_or(Ok(Version::V0x10), Version::try_from);
    let params = Params::try_from(&stored).map_err(damaged)?;
    let (Some(salt), Some(right)) = (&stored.salt, &stored.hash) else {
        return Err(damaged("it is not whole"));
    };
    let mut blocks = memory.take(params.block_count())?;
    let mut computed = Zeroizing::new(vec![0; right.len()]);
    let done = Argon2::new(algorithm, version.map_err(damaged)?, params)
        .hash_password_into_with_memory(password, salt.as_ref(), &mut computed, &mut blocks);
    memory.give_back(blocks);
    done.map_err(damaged)?;
    Ok(computed.ct_eq(right.as_bytes()).into())
}

fn damaged(reason: impl std::fmt::Display) -> AccountsError {
    AccountsError::Damaged {
        reason: format!("a password hash: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_says_how_it_was_made_and_fits_its_password_alone() {
        let hasher = Hasher::new().unwrap();
        let password = Password::new("correct horse");
        let hash = hasher.hash(&password).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(
            hasher.hash(&password).await.unwrap(),
            hash,
            "each has a salt of its own"
        );
        let check = async |password: &[u8], stored| hasher.check(password, stored).await.unwrap();
        assert!(check(b"correct horse", Some(hash.clone())).await);
        assert!(!check(b"correct hors", Some(hash)).await);
        assert!(!check(b"correct horse", None).await);
    }

    #[tokio::test]
    async fn s_32_the_memory_of_checks_is_used_again() {
        let hasher = Hasher::new().unwrap();
        let hash = hasher.hash(&Password::new("correct horse")).await.unwrap();
        let mut checks = tokio::task::JoinSet::new();
        for n in 0..12 {
            let (hasher, hash) = (hasher.clone(), hash.clone());
            let password = if n % 2 == 0 { "correct horse" } else { "wrong" };
            checks.spawn(async move {
                let fits = hasher.check(password.as_bytes(), Some(hash)).await;
                assert_eq!(fits.unwrap(), n % 2 == 0);
            });
        }
        checks.join_all().await;
        let kept = hasher.memory.lock();
        assert!((1..=AT_ONCE).contains(&kept.len()), "{}", kept.len());
        assert!(
            kept.iter()
                .all(|blocks| blocks.len() == MEMORY_KIB as usize)
        );
    }

    #[tokio::test]
    async fn a_hash_that_is_none_is_an_error() {
        let hasher = Hasher::new().unwrap();
        let checked = hasher.check(b"a", Some("$1$abc".to_owned())).await;
        assert!(matches!(checked, Err(AccountsError::Damaged { .. })));
    }

    #[tokio::test]
    async fn s_32_four_checks_run_at_a_time_even_if_those_who_asked_are_gone() {
        let hasher = Hasher::new().unwrap();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        for _ in 0..AT_ONCE {
            let (held, hasher) = (Arc::clone(&held), hasher.clone());
            let (begun, begins) = tokio::sync::oneshot::channel();
            let asking = tokio::spawn(async move {
                hasher
                    .compute(move || {
                        begun.send(()).ok();
                        held.lock().unwrap().recv().ok();
                        Ok(())
                    })
                    .await
            });
            begins.await.unwrap();
            asking.abort();
        }
        assert_eq!(hasher.places.available_permits(), 0);
        drop(hold);
        // The places come back by themselves.
        drop(hasher.places.acquire_many(4).await.unwrap());
    }
}
