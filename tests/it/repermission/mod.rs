//! Stories of an old list: sorted, asked, answered, purged and proven.

mod asking;
mod published;
mod reading;
mod sorting;
mod strict;

use std::{io::Write, path::Path};

use ouinon::{
    domain::{import::columns::Mapping, lang::Lang},
    pipeline::{
        import::Options,
        repermission::{
            plan::{self, Plan, PlanError, Request},
            read::{Given, How},
        },
    },
};

use crate::world::World;

/// Files of a list, by name.
pub type Files<'a> = &'a [(&'a str, &'a [u8])];

/// How a story reads its files.
#[derive(Default, Clone)]
pub struct Reading<'a> {
    pub map: &'a [(&'a str, &'a str)],
    pub default: &'a [(&'a str, &'a str)],
    pub ignore: &'a [&'a str],
    pub date_order: Option<ouinon::domain::import::dates::DateOrder>,
    pub sheet: Option<&'a str>,
    pub as_of: Option<plan::AsOf>,
    pub out: Option<&'a Path>,
}

fn given((name, bytes): &(&str, &[u8])) -> Given {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Given { name: (*name).to_owned(), file }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

pub async fn try_plan(world: &World, files: Files<'_>, reading: &Reading<'_>) -> Result<Plan, PlanError> {
    let mapping = Mapping {
        map: pairs(reading.map),
        default: pairs(reading.default),
        ignore: reading.ignore.iter().map(|column| (*column).to_owned()).collect(),
    };
    let request = Request {
        files: files.iter().map(given).collect(),
        product: "crm".into(),
        as_of: reading.as_of,
        how: How {
            options: Options { mapping, date_order: reading.date_order },
            sheet: reading.sheet.map(str::to_owned),
        },
        provenance: None,
        out: reading.out.map(Path::to_owned),
        lang: Lang::En,
    };
    plan::make(&world.app, request, &mut |_, _| {}).await
}

/// A plan, whose groups and reasons must sum to its lines.
pub async fn plan_of(world: &World, files: Files<'_>, reading: &Reading<'_>) -> Plan {
    let plan = try_plan(world, files, reading).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plan.groups.len(), 8, "every group is there");
    assert_eq!(plan.groups.values().sum::<u64>(), plan.lines, "the groups sum to the lines: {plan:?}");
    assert_eq!(plan.by_reason.values().sum::<u64>(), plan.lines, "the reasons sum to the lines: {plan:?}");
    assert!(plan.by_reason.values().all(|n| *n > 0), "zeros are left out");
    plan
}

/// The groups that hold anything, as `askable 2, refused 1`.
pub fn told(plan: &Plan) -> String {
    let filled = plan.groups.iter().filter(|(_, n)| **n > 0);
    filled.map(|(group, n)| format!("{group} {n}")).collect::<Vec<_>>().join(", ")
}
