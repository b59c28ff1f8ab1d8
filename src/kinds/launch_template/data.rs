//! The data of a launch-template version: attributes to the API's words and back.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{
    CreditSpecificationRequest, InstanceType, LaunchTemplateBlockDeviceMapping,
    LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest, LaunchTemplateHttpTokensState,
    LaunchTemplateIamInstanceProfileSpecificationRequest, LaunchTemplateInstanceMetadataEndpointState,
    LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateInstanceNetworkInterfaceSpecificationRequest,
    LaunchTemplateTagSpecificationRequest, LaunchTemplatesMonitoringRequest, RequestLaunchTemplateData, ResourceType,
    ResponseLaunchTemplateData, Tag, VolumeType as Ec2VolumeType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Imds, LaunchTemplate, Volume, VolumeType};
use crate::graph::Attributes;
use crate::kinds::ec2;

/// The attributes as the data of a version.
pub fn request(template: &LaunchTemplate) -> RequestLaunchTemplateData {
    let groups: Vec<String> = template.security_groups.iter().cloned().collect();
    let groups = (!groups.is_empty()).then_some(groups);
    // Whether there is a public address is said of a network interface, and then the groups belong there as well
    // ("RequestLaunchTemplateData").
    let (interface, groups) = match template.public_ip {
        None => (None, groups),
        Some(public) => {
            let interface = LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
                .device_index(0)
                .associate_public_ip_address(public)
                .delete_on_termination(true)
                .set_groups(groups)
                .build();
            (Some(vec![interface]), None)
        }
    };
    let volumes: Vec<_> = template.volumes.iter().map(volume_request).collect();
    RequestLaunchTemplateData::builder()
        .image_id(&template.image)
        .set_instance_type(template.instance_type.as_deref().map(InstanceType::from))
        .set_iam_instance_profile(template.instance_profile.as_deref().map(profile_request))
        .set_key_name(template.key_pair.clone())
        .set_user_data(template.user_data.as_deref().map(|text| STANDARD.encode(text)))
        .set_block_device_mappings((!volumes.is_empty()).then_some(volumes))
        .metadata_options(
            LaunchTemplateInstanceMetadataOptionsRequest::builder()
                .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
                .http_tokens(match template.imds {
                    Imds::Required => LaunchTemplateHttpTokensState::Required,
                    Imds::Optional => LaunchTemplateHttpTokensState::Optional,
                })
                .http_put_response_hop_limit(template.imds_hop_limit)
                .build(),
        )
        .monitoring(LaunchTemplatesMonitoringRequest::builder().enabled(template.detailed_monitoring).build())
        .set_network_interfaces(interface)
        .set_security_group_ids(groups)
        .set_ebs_optimized(template.ebs_optimized)
        .set_credit_specification(
            template
                .cpu_credits
                .map(|credits| CreditSpecificationRequest::builder().cpu_credits(credits.as_str()).build()),
        )
        .set_tag_specifications(tag_specifications(template))
        .build()
}

fn profile_request(profile: &str) -> LaunchTemplateIamInstanceProfileSpecificationRequest {
    let builder = LaunchTemplateIamInstanceProfileSpecificationRequest::builder();
    if profile.starts_with("arn:") { builder.arn(profile).build() } else { builder.name(profile).build() }
}

fn volume_request(volume: &Volume) -> LaunchTemplateBlockDeviceMappingRequest {
    let ebs = LaunchTemplateEbsBlockDeviceRequest::builder()
        .set_volume_size(volume.size_gib)
        .volume_type(Ec2VolumeType::from(volume.r#type.as_str()))
        .encrypted(volume.encrypted)
        .set_kms_key_id(volume.kms_key.clone())
        .set_iops(volume.iops)
        .set_throughput(volume.throughput)
        .delete_on_termination(volume.delete_on_termination)
        .build();
    LaunchTemplateBlockDeviceMappingRequest::builder().device_name(&volume.device).ebs(ebs).build()
}

/// The tags that instances get, on their volumes as well.
fn tag_specifications(template: &LaunchTemplate) -> Option<Vec<LaunchTemplateTagSpecificationRequest>> {
    if template.instance_tags.is_empty() {
        return None;
    }
    let tags: Vec<Tag> =
        template.instance_tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    let of = |kind| {
        LaunchTemplateTagSpecificationRequest::builder().resource_type(kind).set_tags(Some(tags.clone())).build()
    };
    Some(vec![of(ResourceType::Instance), of(ResourceType::Volume)])
}

/// The data of a version as attributes.
pub fn observe(data: &ResponseLaunchTemplateData, attributes: &mut Attributes) {
    let mut put = |name: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            attributes.insert(name.to_owned(), value);
        }
    };
    put("image", data.image_id().map(|id| json!(id)));
    put("instance_type", data.instance_type().map(|name| json!(name.as_str())));
    let profile = data.iam_instance_profile();
    put("instance_profile", profile.and_then(|profile| profile.arn().or(profile.name())).map(|name| json!(name)));
    put("key_pair", data.key_name().map(|name| json!(name)));
    put("user_data", data.user_data().filter(|text| !text.is_empty()).map(|text| json!(plain(text))));
    put("ebs_optimized", data.ebs_optimized().map(|on| json!(on)));
    put("detailed_monitoring", data.monitoring().and_then(|monitoring| monitoring.enabled()).map(|on| json!(on)));
    let credits = data.credit_specification().and_then(|credits| credits.cpu_credits());
    put("cpu_credits", credits.map(|credits| json!(credits)));
    if let Some(options) = data.metadata_options() {
        put("imds", options.http_tokens().map(|tokens| json!(tokens.as_str())));
        put("imds_hop_limit", options.http_put_response_hop_limit().map(|limit| json!(limit)));
    }
    let interface = data.network_interfaces().iter().find(|one| one.device_index().unwrap_or_default() == 0);
    put("public_ip", interface.and_then(|one| one.associate_public_ip_address()).map(|on| json!(on)));
    let groups = match interface {
        Some(interface) => Some(interface.groups()).filter(|groups| !groups.is_empty()),
        None => Some(data.security_group_ids()),
    };
    put("security_groups", groups.map(|groups| json!(groups.iter().collect::<BTreeSet<_>>())));
    let volumes: BTreeSet<Volume> = data.block_device_mappings().iter().filter_map(volume).collect();
    put("volumes", Some(json!(volumes)));
    let tags = data.tag_specifications().iter().find(|tags| tags.resource_type() == Some(&ResourceType::Instance));
    put("instance_tags", Some(ec2::tags(tags.map(|tags| tags.tags()).unwrap_or_default())));
}

/// What the attributes are that the data of a version need not hold, where it does not. Credits and the groups of an
/// interface are not among them: an emulator leaves them out.
pub fn unset() -> [(&'static str, Value); 8] {
    [
        ("image", Value::Null),
        ("instance_type", Value::Null),
        ("instance_profile", Value::Null),
        ("key_pair", Value::Null),
        ("user_data", Value::Null),
        ("ebs_optimized", Value::Null),
        ("public_ip", Value::Null),
        ("detailed_monitoring", json!(false)),
    ]
}

/// User data as it was written; what is no text stays as AWS keeps it.
fn plain(encoded: &str) -> String {
    STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| encoded.to_owned())
}

/// A volume; `None` for what is no volume (an instance store, a device left out).
fn volume(mapping: &LaunchTemplateBlockDeviceMapping) -> Option<Volume> {
    let ebs = mapping.ebs()?;
    Some(Volume {
        device: mapping.device_name()?.to_owned(),
        size_gib: ebs.volume_size(),
        r#type: ebs.volume_type().and_then(|one| VolumeType::parse(one.as_str())).unwrap_or_default(),
        encrypted: ebs.encrypted().unwrap_or_default(),
        kms_key: ebs.kms_key_id().map(str::to_owned),
        iops: ebs.iops(),
        throughput: ebs.throughput(),
        delete_on_termination: ebs.delete_on_termination().unwrap_or(true),
    })
}
