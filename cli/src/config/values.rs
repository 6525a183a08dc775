//! What values of a configuration may be.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use rdv_host::{Pace, RateClass};
use toml::de::DeValue;

use super::read::Kind;

/// A longer time is a mistake, and none that any clock reaches.
const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

pub(crate) const FLAG: Kind<bool> = Kind {
    allowed: "true or false",
    read: |value| value.as_bool(),
};

pub(crate) const TEXT: Kind<String> = Kind {
    allowed: "a text in quotes",
    read: |value| value.as_str().map(str::to_owned),
};

pub(crate) const TEXTS: Kind<Vec<String>> = Kind {
    allowed: "a text in quotes, or a list of them",
    read: |value| several(value, |one| one.as_str().map(str::to_owned)),
};

pub(crate) const PATH: Kind<PathBuf> = Kind {
    allowed: "a path in quotes",
    read: |value| {
        value
            .as_str()
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    },
};

pub(crate) const ADDRESS: Kind<IpAddr> = Kind {
    allowed: "an address such as \"192.0.2.1\" or \"2001:db8::1\"",
    read: |value| value.as_str()?.parse().ok(),
};

pub(crate) const SOCKET: Kind<SocketAddr> = Kind {
    allowed: "an address and a port such as \"127.0.0.1:9190\"",
    read: |value| value.as_str()?.parse().ok(),
};

pub(crate) const SOCKETS: Kind<Vec<SocketAddr>> = Kind {
    allowed: "an address and a port such as \"[::]:5190\", or a list of them",
    read: |value| several(value, |one| one.as_str()?.parse().ok()),
};

pub(crate) const COUNT: Kind<usize> = Kind {
    allowed: "a whole number from 1 up",
    read: |value| integer(value).filter(|&number| number > 0)?.try_into().ok(),
};

pub(crate) const COUNT_U32: Kind<u32> = Kind {
    allowed: "a whole number from 1 up",
    read: |value| integer(value).filter(|&number| number > 0)?.try_into().ok(),
};

pub(crate) const SIGN_ONS: Kind<usize> = Kind {
    allowed: "a whole number from 1 to 255",
    read: |value| (COUNT.read)(value).filter(|&number| number <= 255),
};

pub(crate) const BYTES: Kind<u64> = Kind {
    allowed: "a number of bytes such as 1048576 or \"64GiB\"",
    read: |value| bytes(value).filter(|&bytes| bytes > 0),
};

pub(crate) const BYTES_HERE: Kind<usize> = Kind {
    allowed: "a number of bytes such as 1048576 or \"1MiB\"",
    read: |value| bytes(value).filter(|&bytes| bytes > 0)?.try_into().ok(),
};

pub(crate) const TIME: Kind<Duration> = Kind {
    allowed: "a time such as \"30s\", \"5min\" or \"24h\"",
    read: |value| time(value.as_str()?),
};

pub(crate) const PACE: Kind<Pace> = Kind {
    allowed: "so many at once, and the time in which as many more may follow, such as \"60/3s\"",
    read: |value| {
        let (burst, per) = value.as_str()?.split_once('/')?;
        let burst: u32 = burst.trim().parse().ok()?;
        let per = time(per.trim()).filter(|per| !per.is_zero())?;
        (burst > 0).then_some(Pace { burst, per })
    },
};

pub(crate) const NUMBERS: Kind<RangeInclusive<u16>> = Kind {
    allowed: "numbers from 1 to 9999 such as \"1-9999\"",
    read: |value| {
        let (first, last) = value.as_str()?.split_once('-')?;
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        (1 <= first && first <= last && last <= 9999).then_some(first..=last)
    },
};

/// All of its numbers, which belong together: levels are milliseconds, from 1 up, and in this order.
pub(crate) const RATE: Kind<RateClass> = Kind {
    allowed: "{ window, max, clear, alert, limit, disconnect }, all of them whole numbers, max >= clear >= alert >= limit >= disconnect",
    read: |value| {
        let table = value.as_table()?;
        let number = |key: &str| {
            let (_, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
            u32::try_from(integer(value.get_ref())?).ok()
        };
        let class = RateClass {
            id: 0,
            window: number("window").filter(|&window| window > 0)?,
            clear: number("clear")?,
            alert: number("alert")?,
            limit: number("limit")?,
            disconnect: number("disconnect")?,
            max: number("max")?,
        };
        let levels = [
            class.max,
            class.clear,
            class.alert,
            class.limit,
            class.disconnect,
        ];
        (table.len() == 6 && levels.is_sorted_by(|above, below| above >= below)).then_some(class)
    },
};

fn several<T>(value: &DeValue<'_>, one: impl Fn(&DeValue<'_>) -> Option<T>) -> Option<Vec<T>> {
    match value.as_array() {
        Some(list) => list.iter().map(|value| one(value.get_ref())).collect(),
        None => Some(vec![one(value)?]),
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn bytes(value: &DeValue<'_>) -> Option<u64> {
    let Some(text) = value.as_str() else {
        return integer(value);
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn time(text: &str) -> Option<Duration> {
    humantime::parse_duration(text)
        .ok()
        .filter(|&time| time <= TIME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(kind: &Kind<T>, text: &str) -> Option<T> {
        let value = DeValue::parse(text).expect("TOML");
        (kind.read)(value.get_ref())
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        assert_eq!(read(&TIME, "\"30s\""), Some(Duration::from_secs(30)));
        assert_eq!(read(&TIME, "\"1000y\""), None);
        assert_eq!(read(&TIME, "30"), None);
        assert_eq!(read(&BYTES, "\"64GiB\""), Some(64 << 30));
        assert_eq!(read(&BYTES, "4096"), Some(4096));
        for wrong in ["\"64GB\"", "0", "-1", "\"99999999999TiB\"", "1.5"] {
            assert_eq!(read(&BYTES, wrong), None, "{wrong}");
        }
        assert_eq!(read(&COUNT, "0x10"), Some(16));
        assert_eq!(read(&SIGN_ONS, "256"), None);
        let pace = Pace::new(60, Duration::from_secs(3));
        assert_eq!(read(&PACE, "\"60/3s\""), Some(pace));
        for wrong in ["\"60\"", "\"0/3s\"", "\"60/0s\"", "\"/\"", "60"] {
            assert_eq!(read(&PACE, wrong), None, "{wrong}");
        }
        assert_eq!(read(&NUMBERS, "\"7-7\""), Some(7..=7));
        for wrong in ["\"0-9\"", "\"9-8\"", "\"1-10000\"", "7"] {
            assert_eq!(read(&NUMBERS, wrong), None, "{wrong}");
        }
        assert_eq!(read(&SOCKETS, "\"[::]:1\"").map(|list| list.len()), Some(1));
        assert_eq!(read(&SOCKETS, "[\"[::]:1\", \"x\"]"), None);
    }

    #[test]
    fn the_numbers_of_a_rate_class_are_all_there_and_in_order() {
        let good =
            "{ window = 20, max = 6000, clear = 500, alert = 400, limit = 250, disconnect = 100 }";
        assert_eq!(read(&RATE, good).map(|class| class.limit), Some(250));
        let disordered = good.replace("250", "450");
        assert_eq!(read(&RATE, &disordered), None);
        assert_eq!(read(&RATE, "{ window = 20 }"), None);
        assert_eq!(
            read(&RATE, &good.replace("window = 20", "window = 0")),
            None
        );
    }
}
