//! What replacements left behind, what exists already, and which names stay.

use serde_json::json;

use super::{Row, golden, node, node_on, rows};
use crate::stack::Ask;

rows! {
    what_a_replacement_left_behind_goes: Row {
        desired: json!({ "node.a": {}, "node.b": { "inputs": ["${node.a.id}"] } }),
        state: json!({
            "node.a": node(json!({})),
            "deposed node.a": { "id": "old-a", "attributes": {} },
            "node.b": node_on(&["node.a"], json!({ "inputs": ["old-a"] })),
        }),
        ..Row::default()
    };

    what_a_replacement_left_behind_is_gone_already: Row {
        desired: json!({ "node.a": {} }),
        state: json!({ "node.a": node(json!({})), "deposed node.a": { "id": "old-a", "attributes": {} } }),
        observed: json!({ "node.a old-a": null }),
        ..Row::default()
    };

    what_a_replacement_left_behind_is_taken_back_where_it_is_named_again: Row {
        desired: json!({
            "role.web": { "name": "a", "service": "ec2.amazonaws.com" },
            "node.user": { "inputs": ["${role.web.name}"] },
        }),
        state: json!({
            "role.web": { "id": "b", "attributes": { "name": "b", "service": "ec2.amazonaws.com" } },
            "deposed role.web": { "id": "a", "attributes": { "name": "a", "service": "ec2.amazonaws.com" } },
            "node.user": node_on(&["role.web"], json!({ "inputs": ["b"] })),
        }),
        ..Row::default()
    };

    what_is_named_again_and_gone_is_made_anew: Row {
        desired: json!({ "role.web": { "name": "a", "service": "ec2.amazonaws.com" } }),
        state: json!({
            "role.web": { "id": "b", "attributes": { "name": "b", "service": "ec2.amazonaws.com" } },
            "deposed role.web": { "id": "a", "attributes": { "name": "a", "service": "ec2.amazonaws.com" } },
        }),
        observed: json!({ "role.web a": null }),
        ..Row::default()
    };

    a_role_and_an_instance_profile_of_one_id_are_told_apart: Row {
        desired: json!({}),
        state: json!({
            "deposed role.web": { "id": "web", "attributes": { "name": "web", "service": "ec2.amazonaws.com" } },
            "deposed instance_profile.web": { "id": "web", "attributes": { "name": "web", "role": "web" } },
        }),
        observed: json!({ "role.web web": null }),
        ..Row::default()
    };

    what_the_tool_made_gives_way_to_what_exists: Row {
        desired: json!({
            "node.main": { "existing": "node-of-theirs" },
            "node.user": { "inputs": ["${node.main.id}"] },
        }),
        state: json!({
            "node.main": node(json!({ "size": 2 })),
            "node.user": node_on(&["node.main"], json!({ "inputs": ["id-of-node.main"] })),
        }),
        observed: json!({ "reads": {
            "node.main": { "id": "node-of-theirs", "attributes": { "size": 4 }, "outputs": { "serial": "3" } },
        } }),
        ..Row::default()
    };

    what_is_protected_gives_no_way_to_what_exists: Row {
        desired: json!({ "node.main": { "existing": "node-of-theirs" } }),
        state: json!({ "node.main": { "attributes": {}, "protect": true } }),
        observed: json!({ "reads": { "node.main": { "id": "node-of-theirs", "outputs": { "serial": "3" } } } }),
        ..Row::default()
    };

    what_the_tool_made_is_only_read_from_now_on: Row {
        desired: json!({
            "node.main": { "existing": "id-of-node.main" },
            "node.user": { "inputs": ["${node.main.id}"] },
        }),
        state: json!({
            "node.main": { "attributes": { "size": 2 }, "outputs": { "serial": "0" }, "protect": true },
            "deposed node.main": { "id": "old", "attributes": {} },
            "node.user": node_on(&["node.main"], json!({ "inputs": ["id-of-node.main"] })),
        }),
        observed: json!({ "reads": {
            "node.main": { "id": "id-of-node.main", "attributes": { "size": 2 }, "outputs": { "serial": "0" } },
        } }),
        ..Row::default()
    };

    what_is_looked_up_by_something_that_stays_is_known: Row {
        desired: json!({
            "node.a": {},
            "catalog.stays": { "name": "${node.a.id}" },
            "node.b": { "fixed": "${catalog.stays.value}" },
            "node.c": { "fixed": "new" },
            "catalog.moves": { "name": "${node.c.id}" },
            "node.d": { "inputs": ["${catalog.moves.value}"] },
        }),
        state: json!({
            "node.a": node(json!({})),
            "catalog.stays": { "id": "c", "attributes": { "name": "id-of-node.a" }, "outputs": { "id": "c", "value": "v" }, "read_only": true },
            "node.b": node_on(&["catalog.stays"], json!({ "fixed": "v" })),
            "node.c": node(json!({ "fixed": "old" })),
            "catalog.moves": { "id": "d", "attributes": { "name": "id-of-node.c" }, "outputs": { "id": "d", "value": "w" }, "read_only": true },
            "node.d": node_on(&["catalog.moves"], json!({ "inputs": ["w"] })),
        }),
        observed: json!({ "reads": {
            "catalog.stays": { "id": "c", "attributes": { "name": "id-of-node.a" }, "outputs": { "value": "v" } },
            "catalog.moves": { "id": "d", "attributes": { "name": "id-of-node.c" }, "outputs": { "value": "w" } },
        } }),
        ..Row::default()
    };

    without_a_refresh_a_lookup_by_another_name_is_not_believed: Row {
        desired: json!({ "catalog.c": { "name": "other" }, "node.a": { "inputs": ["${catalog.c.value}"] } }),
        state: json!({
            "catalog.c": { "id": "c", "attributes": { "name": "c" }, "outputs": { "value": "1" }, "read_only": true },
            "node.a": node_on(&["catalog.c"], json!({ "inputs": ["1"] })),
        }),
        unrefreshed: true,
        ..Row::default()
    };

    a_target_made_anew_keeps_its_old_one_for_the_others: Row {
        desired: json!({
            "role.web": { "name": "b", "service": "ec2.amazonaws.com" },
            "node.under": { "fixed": "new" },
            "node.user": { "inputs": ["${role.web.name}"] },
            "node.other": { "size": 2 },
        }),
        state: json!({
            "node.under": node(json!({ "fixed": "old" })),
            "role.web": { "attributes": { "name": "a", "service": "ec2.amazonaws.com" }, "depends_on": ["node.under"] },
            "deposed role.web": { "id": "older", "attributes": { "name": "o", "service": "ec2.amazonaws.com" } },
            "node.user": node_on(&["role.web"], json!({ "inputs": ["a"] })),
            "node.other": node(json!({})),
        }),
        ask: Ask { targets: &["role.web", "node.under"], ..Ask::default() },
        ..Row::default()
    };

    a_target_that_goes_first_needs_what_stands_on_it: Row {
        desired: json!({
            "site.web": { "name": "web", "fixed": "new" },
            "node.top": { "fixed": "${site.web.id}" },
            "node.soft": { "inputs": ["${site.web.id}"] },
        }),
        state: json!({
            "site.web": { "attributes": { "name": "web", "fixed": "old" } },
            "node.top": node_on(&["site.web"], json!({ "fixed": "id-of-site.web" })),
            "node.soft": node_on(&["site.web"], json!({ "inputs": ["id-of-site.web"] })),
        }),
        ask: Ask { targets: &["site.web"], ..Ask::default() },
        ..Row::default()
    };

    a_target_may_be_what_a_replacement_left_behind: Row {
        desired: json!({ "node.b": { "size": 2 } }),
        state: json!({ "deposed node.a": { "id": "old-a", "attributes": {} }, "node.b": node(json!({})) }),
        ask: Ask { targets: &["node.a"], ..Ask::default() },
        ..Row::default()
    };

    what_would_be_made_under_a_name_of_the_state_is_refused: Row {
        desired: json!({
            "site.new": { "name": "web" },
            "edge.b/site.main": { "name": "edge" },
            "edge.b/site.other": { "name": "other" },
            "site.second": { "name": "first" },
            "site.first": { "name": "second" },
            "site.again": { "name": "gone" },
            "dns_record.new": { "zone": "Z1", "name": "www.example.com", "type": "A", "values": ["10.0.0.1"] },
            "site.stays": { "name": "stays", "fixed": "new" },
        }),
        state: json!({
            "site.old": { "attributes": { "name": "web" } },
            "edge.a/site.main": { "attributes": { "name": "edge" } },
            "edge.a/site.other": { "attributes": { "name": "other" } },
            "site.first": { "attributes": { "name": "first" } },
            "site.second": { "attributes": { "name": "second" } },
            "site.gone": { "attributes": { "name": "gone" } },
            "dns_record.old": {
                "attributes": { "zone": "Z1", "name": "www.example.com", "type": "A", "values": ["10.0.0.1"] },
            },
            "site.stays": { "attributes": { "name": "stays", "fixed": "old" } },
        }),
        observed: json!({ "site.gone": null }),
        ..Row::default()
    };

    a_name_that_was_made_stays: Row {
        desired: json!({
            "site.moved": { "name": "demo-moved", "made_name": true },
            "site.given": { "name": "demo-given" },
            "node.user": { "inputs": ["${site.moved.name}"] },
            "security_group.same": { "name": "demo-same-1", "description": "a", "vpc": "vpc-1", "made_name": true },
            "security_group.other": { "name": "demo-other-2", "description": "b", "vpc": "vpc-1", "made_name": true },
        }),
        state: json!({
            "site.moved": { "attributes": { "name": "demo-old" } },
            "site.given": { "attributes": { "name": "demo-was" } },
            "node.user": node_on(&["site.moved"], json!({ "inputs": ["demo-old"] })),
            "security_group.same": { "attributes": { "name": "demo-former-1", "description": "a", "vpc": "vpc-1" } },
            "security_group.other": { "attributes": { "name": "demo-former-3", "description": "a", "vpc": "vpc-1" } },
        }),
        ..Row::default()
    };
}
