use cofferdam::cloud::{Cloud, CreateRequest, Known};
use cofferdam::graph::{Address, Attributes};
use cofferdam::kinds::AwsCloud;
use serde_json::{Value, json};

use crate::support::{Emulator, life, make, remove, unique};

async fn public_zone(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    life(
        &cloud,
        "hosted_zone",
        json!({ "name": format!("{}.example.com.", unique("Zone")) }),
        &[
            json!({ "comment": "Delegated from example.com" }),
            json!({ "tags": { "Team": "platform" } }),
            json!({ "force_destroy": true }),
        ],
    )
    .await;
}

async fn private_zone(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let one = make(&cloud, "vpc", json!({ "cidr": "10.0.0.0/16" })).await;
    let two = make(&cloud, "vpc", json!({ "cidr": "10.1.0.0/16" })).await;
    let three = make(&cloud, "vpc", json!({ "cidr": "10.2.0.0/16" })).await;
    life(
        &cloud,
        "hosted_zone",
        json!({ "name": format!("{}.local", unique("zone")), "vpcs": [one.id, two.id], "comment": "Inside" }),
        &[json!({ "vpcs": [two.id, three.id] }), json!({ "vpcs": [one.id] }), json!({ "comment": "" })],
    )
    .await;
    for vpc in [one, two, three] {
        remove(&cloud, "vpc", &vpc).await;
    }
}

async fn zone(cloud: &AwsCloud, force_destroy: bool) -> Known {
    let name = format!("{}.example.com", unique("zone"));
    make(cloud, "hosted_zone", json!({ "name": name, "force_destroy": force_destroy })).await
}

async fn dns_record(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let zone = zone(&cloud, false).await;
    life(
        &cloud,
        "dns_record",
        json!({ "zone": zone.id, "name": "www", "type": "A", "values": ["10.0.0.1"] }),
        &[
            json!({ "values": ["10.0.0.2", "10.0.0.1"] }),
            json!({ "ttl": 60 }),
            json!({ "values": null, "ttl": null, "alias": {
                "name": format!("Other.{}", zone.attributes["name"].as_str().unwrap()), "zone": zone.id } }),
            json!({ "alias": null, "values": ["10.0.0.3"] }),
        ],
    )
    .await;
    for (name, kind, values) in [
        ("*", "CNAME", json!(["www.example.com"])),
        ("@", "MX", json!(["10 mail.example.com", "20 other.example.com"])),
        ("_dmarc", "TXT", json!(["v=DMARC1; p=\"none\"", "x".repeat(300)])),
        ("six", "AAAA", json!(["2001:0db8:0::1"])),
    ] {
        life(&cloud, "dns_record", json!({ "zone": zone.id, "name": name, "type": kind, "values": values }), &[]).await;
    }
    remove(&cloud, "hosted_zone", &zone).await;
}

async fn records_of_a_set(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let zone = zone(&cloud, false).await;
    let record = |set: &str, routing: Value| {
        let mut record = json!({ "zone": zone.id, "name": set, "type": "A", "values": ["10.0.0.1"], "set_id": set });
        record.as_object_mut().unwrap().extend(routing.as_object().cloned().unwrap());
        record
    };
    let sets = [
        ("weighted", json!({ "weight": 10 }), vec![json!({ "weight": 0 })]),
        ("nearest", json!({ "region": "eu-west-2" }), vec![]),
        ("failing-over", json!({ "failover": "secondary" }), vec![]),
        ("near", json!({ "geo": { "country": "US", "subdivision": "CA" } }), vec![]),
        ("many", json!({ "multivalue": true }), vec![]),
    ];
    for (name, routing, changes) in sets {
        life(&cloud, "dns_record", record(name, routing), &changes).await;
    }
    remove(&cloud, "hosted_zone", &zone).await;
}

/// Records that the stack did not make keep a zone, unless it says otherwise.
async fn a_zone_with_strange_records(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let mut zone = zone(&cloud, false).await;
    make(&cloud, "dns_record", json!({ "zone": zone.id, "name": "left", "type": "A", "values": ["10.0.0.1"] })).await;
    let error = cloud.delete("hosted_zone", &zone).await.unwrap_err();
    assert_eq!(error.code, "HostedZoneNotEmpty");
    assert!(error.remedy().contains("left.") && error.remedy().contains("force_destroy"), "{}", error.remedy());
    zone.attributes["force_destroy"] = json!(true);
    remove(&cloud, "hosted_zone", &zone).await;
}

/// Records that are made at the same time go together, and one that is refused takes no other with it.
async fn records_at_once(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let zone = zone(&cloud, true).await;
    let request = |name: String, zone: &str| CreateRequest {
        address: Address::new("dns_record", "test"),
        token: unique("token"),
        attributes: json!({ "zone": zone, "name": name, "type": "A", "ttl": 300, "values": ["10.0.0.1"] })
            .as_object()
            .cloned()
            .unwrap(),
    };
    let before = cloud.aws().calls.counts().get("route53:ChangeResourceRecordSets").copied().unwrap_or(0);
    let requests: Vec<CreateRequest> = (0..100).map(|n| request(format!("host-{n}"), &zone.id)).collect();
    let made = futures_util::future::join_all(requests.iter().map(|one| cloud.create("dns_record", one))).await;
    assert!(made.iter().all(Result::is_ok));
    let sent = cloud.aws().calls.counts()["route53:ChangeResourceRecordSets"] - before;
    assert!(sent <= 3, "100 records took {sent} changes");
    remove(&cloud, "hosted_zone", &zone).await;
}

/// 100 roles and 200 records of one zone, made by somebody else, are read in a dozen calls.
async fn refresh_in_few_calls(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let aws = cloud.aws().clone();
    let zone = zone(&cloud, true).await;
    let name = zone.attributes["name"].as_str().unwrap();
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let prefix = unique("role");
    let roles: Vec<String> = (0..100).map(|n| format!("{prefix}-{n}")).collect();
    for role in &roles {
        aws.iam.create_role().role_name(role).assume_role_policy_document(trust.to_string()).send().await.unwrap();
    }
    use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
    let records: Vec<String> = (0..200).map(|n| format!("host-{n}.{name}")).collect();
    for chunk in records.chunks(100) {
        let changes = chunk.iter().map(|name| {
            let record = ResourceRecordSet::builder()
                .name(name)
                .r#type(RrType::A)
                .ttl(300)
                .resource_records(ResourceRecord::builder().value("10.0.0.1").build().unwrap());
            let record = record.build().unwrap();
            Change::builder().action(ChangeAction::Create).resource_record_set(record).build().unwrap()
        });
        let batch = ChangeBatch::builder().set_changes(Some(changes.collect())).build().unwrap();
        aws.route53.change_resource_record_sets().hosted_zone_id(&zone.id).change_batch(batch).send().await.unwrap();
    }

    let known = |kind: &str, id: String| Known {
        address: Address::new(kind, "test"),
        id,
        attributes: Attributes::new(),
        outputs: Attributes::new(),
    };
    let mut wanted: Vec<Known> = roles.iter().map(|name| known("role", name.clone())).collect();
    wanted.push(known("role", "a-role-that-is-gone".into()));
    let mut wanted_records: Vec<Known> =
        records.iter().map(|name| known("dns_record", format!("{}/{name}/A", zone.id))).collect();
    wanted_records.push(known("dns_record", format!("{}/gone.{name}/A", zone.id)));
    let before: u64 = aws.calls.counts().values().sum();
    cloud.forget();
    let (found, found_records) =
        tokio::try_join!(cloud.read("role", &wanted), cloud.read("dns_record", &wanted_records)).unwrap();
    let calls = aws.calls.counts().values().sum::<u64>() - before;
    assert!(calls <= 12, "it took {calls} calls");
    assert_eq!(found.iter().filter(|one| one.is_some()).count(), 100);
    assert_eq!(found_records.iter().filter(|one| one.is_some()).count(), 200);
    assert!(found.last().unwrap().is_none() && found_records.last().unwrap().is_none());

    for role in &roles {
        aws.iam.delete_role().role_name(role).send().await.unwrap();
    }
    remove(&cloud, "hosted_zone", &zone).await;
}

crate::on_each_emulator!(
    public_zone,
    private_zone,
    dns_record,
    records_of_a_set,
    a_zone_with_strange_records,
    records_at_once,
    refresh_in_few_calls,
);
