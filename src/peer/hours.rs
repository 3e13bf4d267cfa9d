//! The hours at which a machine is lent: local times of day, on some days of the week or on all.

use std::str::FromStr;

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// The days, as they are written; the first three letters do.
const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A moment of the week by the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The day, 0 for Monday.
    pub day: u8,
    /// The minutes since it began.
    pub minute: u16,
}

impl Moment {
    /// This moment where this machine is, as its settings have it.
    #[must_use]
    pub fn now() -> Moment {
        let now = jiff::Zoned::now();
        Moment {
            day: now.weekday().to_monday_zero_offset().unsigned_abs(),
            minute: u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs()),
        }
    }
}

/// When a machine is lent: at any of these; if there are none, always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours(pub Vec<HourRange>);

impl Hours {
    /// Whether it is lent at a moment.
    #[must_use]
    pub fn contain(&self, moment: Moment) -> bool {
        self.0.is_empty() || self.0.iter().any(|range| range.contains(moment))
    }
}

/// From one time of day to another, not included, on some days. If the second is the earlier one it is of the next
/// day, and the range belongs to the day on which it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourRange {
    /// Monday first.
    days: [bool; 7],
    from: u16,
    to: u16,
}

impl HourRange {
    fn contains(&self, Moment { day, minute }: Moment) -> bool {
        let on = |day: u8| self.days[usize::from(day % 7)];
        if self.from < self.to {
            on(day) && (self.from..self.to).contains(&minute)
        } else {
            on(day) && minute >= self.from || on(day + 6) && minute < self.to
        }
    }
}

/// What is wrong with a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// Not two times, or no times.
    #[error("`{0}` is no range of hours")]
    NotARange(String),
    /// Not a time of day.
    #[error("`{0}` is no time of day")]
    NotATime(String),
    /// Not a day of the week.
    #[error("`{0}` is no day of the week")]
    NotADay(String),
    /// It ends when it begins.
    #[error("the range `{0}` ends when it begins")]
    Empty(String),
}

impl HoursError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            HoursError::NotARange(_) => "write it as 18:00-08:00, or with days before it: \"mon-fri 19:00-07:00\"",
            HoursError::NotATime(_) => "times go from 00:00 to 24:00, as 7:30 or 19:00; a range starts before 24:00",
            HoursError::NotADay(_) => "days are mon, tue, wed, thu, fri, sat and sun: sat, sat-sun or mon,wed,fri",
            HoursError::Empty(_) => "the whole day is 00:00-24:00",
        }
    }
}

impl FromStr for HourRange {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<HourRange, HoursError> {
        let no_range = || HoursError::NotARange(text.to_owned());
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (days, times) = match words[..] {
            [times] => ([true; 7], times),
            [written, times] => (days(written)?, times),
            _ => return Err(no_range()),
        };
        let (from, to) = times.split_once('-').filter(|(from, _)| from.contains(':')).ok_or_else(no_range)?;
        let (begin, end) = (minute(from)?, minute(to)?);
        if begin == DAY {
            return Err(HoursError::NotATime(from.to_owned()));
        }
        if begin == end {
            return Err(HoursError::Empty(times.to_owned()));
        }
        Ok(HourRange { days, from: begin, to: end })
    }
}

/// `7:30`, as minutes.
fn minute(text: &str) -> Result<u16, HoursError> {
    let number = |digits: &str, lengths: std::ops::RangeInclusive<usize>| {
        let is_one = lengths.contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| is_one)
    };
    let minutes = || {
        let (hours, minutes) = text.split_once(':')?;
        let minutes = number(minutes, 2..=2).filter(|minutes| *minutes < 60)?;
        Some(number(hours, 1..=2)? * 60 + minutes).filter(|all| *all <= DAY)
    };
    minutes().ok_or_else(|| HoursError::NotATime(text.to_owned()))
}

/// `sat`, `mon-fri` or `mon,wed,fri`.
fn days(text: &str) -> Result<[bool; 7], HoursError> {
    let day = |word: &str| {
        let small = word.to_ascii_lowercase();
        let is_it = |name: &&str| **name == small || name[..3] == small;
        NAMES.iter().position(is_it).ok_or_else(|| HoursError::NotADay(word.to_owned()))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // From Friday to Monday goes over the end of the week.
        let count = (last + 7 - first) % 7;
        (first..=first + count).for_each(|day| days[day % 7] = true);
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    const MON: u8 = 0;
    const FRI: u8 = 4;
    const SAT: u8 = 5;
    const SUN: u8 = 6;

    fn hours(ranges: &[&str]) -> Hours {
        Hours(ranges.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn at(hours: &Hours, day: u8, time: &str) -> bool {
        hours.contain(Moment { day, minute: minute(time).unwrap() })
    }

    #[test]
    fn without_a_range_it_is_always() {
        let always = Hours::default();
        assert!((0..7).all(|day| at(&always, day, "00:00") && at(&always, day, "23:59")));
    }

    #[test]
    fn a_range_begins_with_its_first_minute_and_ends_before_its_last() {
        let day = hours(&["8:00-18:30"]);
        for (time, is_in) in [("7:59", false), ("08:00", true), ("18:29", true), ("18:30", false), ("0:00", false)] {
            assert_eq!(at(&day, FRI, time), is_in, "{time}");
        }
    }

    #[test]
    fn a_range_over_midnight_belongs_to_the_day_it_starts_on() {
        let nights = hours(&["mon-fri 19:00-07:00"]);
        for (day, time, is_in) in [
            (MON, "00:00", false),
            (MON, "06:59", false),
            (MON, "18:59", false),
            (MON, "19:00", true),
            (MON, "23:59", true),
            (FRI, "00:00", true),
            (FRI, "07:00", false),
            (FRI, "19:00", true),
            (SAT, "06:59", true),
            (SAT, "07:00", false),
            (SAT, "19:00", false),
            (SUN, "03:00", false),
        ] {
            assert_eq!(at(&nights, day, time), is_in, "day {day}, {time}");
        }
    }

    #[test]
    fn the_night_after_sunday_is_mondays_morning() {
        let night = hours(&["sun 22:00-06:00"]);
        assert!(at(&night, SUN, "22:00") && at(&night, MON, "05:59"));
        assert!(!at(&night, SUN, "05:59") && !at(&night, MON, "06:00") && !at(&night, MON, "22:00"));
    }

    #[test]
    fn a_day_ends_at_24_00() {
        for text in ["sat-sun 00:00-24:00", "SAT,sunday 0:00-24:00"] {
            let weekend = hours(&[text]);
            assert!(at(&weekend, SAT, "00:00") && at(&weekend, SAT, "23:59") && at(&weekend, SUN, "23:59"));
            assert!(!at(&weekend, FRI, "23:59") && !at(&weekend, MON, "00:00"), "{text}");
        }
        for text in ["fri 18:00-24:00", "fri 18:00-00:00"] {
            let evening = hours(&[text]);
            assert!(at(&evening, FRI, "23:59") && !at(&evening, SAT, "00:00"), "{text}");
        }
    }

    #[test]
    fn days_go_over_the_end_of_the_week() {
        let long = hours(&["fri-mon 09:00-10:00"]);
        let on: Vec<u8> = (0..7).filter(|day| at(&long, *day, "9:30")).collect();
        assert_eq!(on, [MON, FRI, SAT, SUN]);
    }

    #[test]
    fn any_of_several_will_do() {
        let both = hours(&["mon-fri 19:00-07:00", "sat-sun 00:00-24:00"]);
        assert!(at(&both, FRI, "20:00") && at(&both, SAT, "12:00") && at(&both, SUN, "23:59"));
        assert!(!at(&both, MON, "03:00") && !at(&both, FRI, "12:00"));
    }

    #[test]
    fn what_is_no_range_is_said_with_what_is_wrong_and_what_to_do() {
        let not_a_range = |text: &str| HoursError::NotARange(text.to_owned());
        let not_a_time = |text: &str| HoursError::NotATime(text.to_owned());
        let not_a_day = |text: &str| HoursError::NotADay(text.to_owned());
        for (text, error) in [
            ("", not_a_range("")),
            ("18-8", not_a_range("18-8")),
            ("mon-fri", not_a_range("mon-fri")),
            ("mon - fri 8:00-9:00", not_a_range("mon - fri 8:00-9:00")),
            ("18:00", not_a_range("18:00")),
            ("18:00-8", not_a_time("8")),
            ("18:00-25:00", not_a_time("25:00")),
            ("18:60-19:00", not_a_time("18:60")),
            ("18:00-+8:00", not_a_time("+8:00")),
            ("24:00-08:00", not_a_time("24:00")),
            ("08:00-24:01", not_a_time("24:01")),
            ("08:00-09:00-10:00", not_a_time("09:00-10:00")),
            ("weekend 08:00-09:00", not_a_day("weekend")),
            ("mon,,fri 08:00-09:00", not_a_day("")),
            ("08:00-08:00", HoursError::Empty("08:00-08:00".to_owned())),
        ] {
            assert_eq!(text.parse::<HourRange>(), Err(error.clone()), "{text}");
            assert!(!error.hint().is_empty());
        }
    }
}
