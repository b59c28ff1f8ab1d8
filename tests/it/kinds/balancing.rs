use cofferdam::cloud::Known;
use cofferdam::kinds::AwsCloud;
use serde_json::json;

use crate::support::{Emulator, life, make, remove, unique};

/// A network with two zones.
struct Ground {
    vpc: Known,
    subnets: [Known; 3],
    groups: [Known; 2],
}

impl Ground {
    async fn new(cloud: &AwsCloud) -> Self {
        let vpc = make(cloud, "vpc", json!({ "cidr": "10.0.0.0/16" })).await;
        let gateway = make(cloud, "internet_gateway", json!({ "vpc": vpc.id })).await;
        let _ = gateway;
        let mut subnets = Vec::new();
        for (n, zone) in ["a", "b", "c"].into_iter().enumerate() {
            let subnet = json!({ "vpc": vpc.id, "cidr": format!("10.0.{n}.0/24"), "zone": format!("eu-west-2{zone}") });
            subnets.push(make(cloud, "subnet", subnet).await);
        }
        let mut groups = Vec::new();
        for _ in 0..2 {
            groups.push(make(cloud, "security_group", json!({ "vpc": vpc.id, "name": unique("group") })).await);
        }
        Self { vpc, subnets: subnets.try_into().expect("three"), groups: groups.try_into().expect("two") }
    }

    /// An application load balancer in two of its subnets.
    async fn balancer(&self, cloud: &AwsCloud) -> Known {
        let [a, b, _] = &self.subnets;
        let balancer = json!({ "name": unique("lb"), "subnets": [a.id, b.id], "security_groups": [self.groups[0].id] });
        make(cloud, "load_balancer", balancer).await
    }

    async fn group(&self, cloud: &AwsCloud) -> Known {
        make(cloud, "target_group", json!({ "name": unique("tg"), "vpc": self.vpc.id })).await
    }
}

async fn load_balancer(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ground = Ground::new(&cloud).await;
    let [a, b, c] = &ground.subnets;
    let mut changes = vec![
        json!({ "idle_timeout_seconds": 120 }),
        json!({ "deletion_protection": true }),
        json!({ "deletion_protection": false }),
        json!({ "access_logs": { "bucket": "logs", "prefix": "lb" } }),
        json!({ "security_groups": [ground.groups[1].id] }),
        json!({ "subnets": [a.id, b.id, c.id] }),
        json!({ "http2": false, "drop_invalid_headers": true }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    if emulator == Emulator::Ministack {
        // moto keeps the addresses that a load balancer was made with.
        changes.push(json!({ "addresses": "dualstack" }));
    }
    let balancer = json!({ "name": unique("lb"), "subnets": [a.id, b.id], "security_groups": [ground.groups[0].id] });
    life(&cloud, "load_balancer", balancer, &changes).await;
}

async fn network_load_balancer(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ground = Ground::new(&cloud).await;
    let balancer =
        json!({ "name": unique("nlb"), "type": "network", "internal": true, "subnets": [ground.subnets[0].id] });
    life(&cloud, "load_balancer", balancer, &[json!({ "cross_zone": true }), json!({ "cross_zone": false })]).await;
}

async fn target_group(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ground = Ground::new(&cloud).await;
    let group = json!({
        "name": unique("tg"), "vpc": ground.vpc.id, "port": 8080,
        "health_check": { "path": "/up", "success": "200-299", "healthy": 2 },
    });
    let changes = [
        json!({ "health_check": { "path": "/healthy", "interval_seconds": 15, "timeout_seconds": 4, "unhealthy": 3 } }),
        json!({ "health_check": { "port": 9000 } }),
        json!({ "deregistration_delay_seconds": 15 }),
        json!({ "stickiness": {} }),
        json!({ "stickiness": { "cookie": "session", "duration_seconds": 60 } }),
        json!({ "stickiness": null }),
        json!({ "slow_start_seconds": 60 }),
        json!({ "algorithm": "least-outstanding-requests", "slow_start_seconds": null }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    life(&cloud, "target_group", group, &changes).await;
    let group =
        json!({ "name": unique("tcp"), "vpc": ground.vpc.id, "protocol": "tcp", "targets": "instance", "port": 5432 });
    life(&cloud, "target_group", group, &[json!({ "preserve_client_ip": false }), json!({ "stickiness": {} })]).await;
}

async fn listener(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ground = Ground::new(&cloud).await;
    let balancer = ground.balancer(&cloud).await;
    let (one, other) = (ground.group(&cloud).await, ground.group(&cloud).await);
    let certificate = make(&cloud, "certificate", json!({ "domain": "www.example.com" })).await;
    let listener =
        json!({ "load_balancer": balancer.id, "port": 80, "action": { "forward": [{ "target_group": one.id }] } });
    let mut changes = vec![
        json!({ "action": { "redirect": { "protocol": "HTTPS", "port": 443 } } }),
        json!({ "action": { "respond": { "status": 404, "body": "nothing here" } } }),
        json!({ "port": 8080 }),
        json!({ "protocol": "https", "certificate": certificate.id }),
        json!({ "ssl_policy": "ELBSecurityPolicy-TLS13-1-3-2021-06" }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    if emulator == Emulator::Moto {
        // ministack leaves out what is sent to several groups.
        let both = json!([{ "target_group": one.id, "weight": 9 }, { "target_group": other.id }]);
        changes.push(json!({ "action": { "forward": both, "sticky_seconds": 60 } }));
    }
    life(&cloud, "listener", listener, &changes).await;
    for (kind, known) in [("target_group", &one), ("target_group", &other), ("load_balancer", &balancer)] {
        remove(&cloud, kind, known).await;
    }
    remove(&cloud, "certificate", &certificate).await;
}

async fn listener_rule(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ground = Ground::new(&cloud).await;
    let balancer = ground.balancer(&cloud).await;
    let group = ground.group(&cloud).await;
    let listener = json!({ "load_balancer": balancer.id, "port": 80, "action": { "respond": { "status": 404 } } });
    let listener = make(&cloud, "listener", listener).await;
    let rule = json!({
        "listener": listener.id, "priority": 10, "hosts": ["www.example.com", "example.com"],
        "action": { "forward": [{ "target_group": group.id }] },
    });
    let mut changes = vec![
        json!({ "priority": 20 }),
        json!({ "paths": ["/api/*"] }),
        json!({ "hosts": null, "methods": ["GET", "HEAD"] }),
        json!({ "methods": null, "headers": { "X-Team": ["web"] }, "source_ips": ["10.0.0.0/8"] }),
        json!({ "headers": null }),
        json!({ "action": { "redirect": { "host": "example.org", "permanent": false } } }),
        json!({ "action": { "respond": { "status": 503, "content_type": "application/json", "body": "{}" } } }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    if emulator == Emulator::Moto {
        // ministack leaves out what a query must hold.
        changes.push(json!({ "query": { "version": "2" } }));
    }
    life(&cloud, "listener_rule", rule, &changes).await;
    for (kind, known) in [("listener", &listener), ("target_group", &group), ("load_balancer", &balancer)] {
        remove(&cloud, kind, known).await;
    }
}

async fn certificate(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let domain = format!("{}.example.com", unique("zone"));
    let zone = make(&cloud, "hosted_zone", json!({ "name": domain })).await;
    let certificate = json!({
        "domain": domain, "more_domains": [format!("*.{domain}"), format!("WWW.{domain}")], "zone": zone.id,
    });
    life(&cloud, "certificate", certificate, &[json!({ "tags": { "Team": "platform" } })]).await;
    // The records that proved it are gone with it: the zone is empty.
    remove(&cloud, "hosted_zone", &zone).await;
}

crate::on_each_emulator!(certificate, listener, listener_rule, load_balancer, network_load_balancer, target_group);
