//! FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup, ListGroups, DescribeGroups, DeleteGroups.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    BrokerId, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use tokio::sync::oneshot;

use crate::api::metadata::{HOST, OPERATIONS_UNKNOWN};
use crate::api::{code, text};
use crate::connection::Client;
use crate::dispatch::Request;
use crate::group::member::{Caller, Join, JoinRefused, Joined, Profile, Protocol};
use crate::locks::hold;
use crate::node::{NODE_ID, Node};

/// FindCoordinator's key type for a transactional id.
const TRANSACTION: i8 = 1;

/// This node coordinates every group, and no transaction.
pub(crate) fn find_coordinator(node: &Node, asked: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if asked.key_type == TRANSACTION {
        return FindCoordinatorResponse::default()
            .with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code())
            .with_error_message(Some(text("this broker has no transactions")))
            .with_node_id(BrokerId(-1))
            .with_port(-1);
    }
    FindCoordinatorResponse::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(HOST)
        .with_port(i32::from(node.port))
}

/// Waits until the rebalance is over, or the client has gone.
pub(crate) async fn join(
    node: &Node,
    client: &Client,
    request: Request,
    client_id: &str,
    asked: JoinGroupRequest,
) -> JoinGroupResponse {
    let milliseconds = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let session_timeout = milliseconds(asked.session_timeout_ms);
    let profile = Profile {
        instance_id: asked.group_instance_id.map(|id| id.to_string()),
        client_id: client_id.to_owned(),
        client_host: format!("/{}", client.address.ip()),
        session_timeout,
        rebalance_timeout: match request.version {
            0 => session_timeout,
            _ => milliseconds(asked.rebalance_timeout_ms),
        },
        protocols: asked
            .protocols
            .into_iter()
            .map(|protocol| Protocol {
                name: protocol.name.to_string(),
                metadata: protocol.metadata.to_vec(),
            })
            .collect(),
    };
    let join = Join {
        group: asked.group_id.to_string(),
        member_id: asked.member_id.to_string(),
        protocol_type: asked.protocol_type.to_string(),
        profile,
        two_steps: request.version >= 4,
    };
    let gone = JoinRefused { code: ResponseError::UnknownMemberId, member_id: join.member_id.clone() };
    let (reply, answer) = oneshot::channel();
    hold(&node.groups).join(Instant::now(), join, reply);
    let joined = tokio::select! {
        joined = answer => joined.unwrap_or(Err(gone)),
        () = client.gone() => Err(gone),
    };
    match joined {
        Ok(joined) => join_response(joined),
        Err(refused) => JoinGroupResponse::default()
            .with_error_code(refused.code.code())
            .with_generation_id(-1)
            .with_protocol_name(Some(text("")))
            .with_member_id(text(refused.member_id)),
    }
}

fn join_response(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.id))
            .with_group_instance_id(member.instance_id.map(text))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member_id))
        .with_members(members.collect())
}

/// Waits for the leader's assignment, or until the client has gone.
pub(crate) async fn sync(node: &Node, client: &Client, asked: SyncGroupRequest) -> SyncGroupResponse {
    let assignments: Vec<(String, Bytes)> = asked
        .assignments
        .into_iter()
        .map(|assigned| (assigned.member_id.to_string(), assigned.assignment))
        .collect();
    let caller = Caller {
        member_id: &asked.member_id,
        instance_id: asked.group_instance_id.as_deref(),
        generation: asked.generation_id,
    };
    let (reply, answer) = oneshot::channel();
    hold(&node.groups).sync(Instant::now(), &asked.group_id, caller, assignments, reply);
    let synced = tokio::select! {
        synced = answer => synced.unwrap_or(Err(ResponseError::UnknownMemberId)),
        () = client.gone() => Err(ResponseError::UnknownMemberId),
    };
    SyncGroupResponse::default().with_error_code(code(&synced)).with_assignment(synced.unwrap_or_default())
}

pub(crate) fn heartbeat(node: &Node, asked: HeartbeatRequest) -> HeartbeatResponse {
    let caller = Caller {
        member_id: &asked.member_id,
        instance_id: asked.group_instance_id.as_deref(),
        generation: asked.generation_id,
    };
    let beat = hold(&node.groups).heartbeat(Instant::now(), &asked.group_id, caller);
    HeartbeatResponse::default().with_error_code(code(&beat))
}

pub(crate) fn leave(node: &Node, version: i16, asked: LeaveGroupRequest) -> LeaveGroupResponse {
    let mut groups = hold(&node.groups);
    let now = Instant::now();
    if version < 3 {
        let left = groups.leave(now, &asked.group_id, &asked.member_id, None);
        return LeaveGroupResponse::default().with_error_code(code(&left));
    }
    let mut members = Vec::with_capacity(asked.members.len());
    for member in asked.members {
        let left = groups.leave(now, &asked.group_id, &member.member_id, member.group_instance_id.as_deref());
        members.push(
            MemberResponse::default()
                .with_member_id(member.member_id)
                .with_group_instance_id(member.group_instance_id)
                .with_error_code(code(&left)),
        );
    }
    LeaveGroupResponse::default().with_members(members)
}

pub(crate) fn list(node: &Node) -> ListGroupsResponse {
    let groups = hold(&node.groups);
    let listed = groups.groups().map(|(name, group)| {
        ListedGroup::default()
            .with_group_id(GroupId(text(name.as_str())))
            .with_protocol_type(text(group.protocol_type.as_str()))
    });
    ListGroupsResponse::default().with_groups(listed.collect())
}

pub(crate) fn describe(node: &Node, asked: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = hold(&node.groups);
    let describe = |name: GroupId| {
        let response = DescribedGroup::default()
            .with_group_id(name.clone())
            .with_authorized_operations(OPERATIONS_UNKNOWN);
        let Some(group) = groups.group(&name) else { return response.with_group_state(text("Dead")) };
        let protocol = group.protocol.as_deref();
        let members = group.members.iter().map(|(id, member)| {
            DescribedGroupMember::default()
                .with_member_id(text(id.as_str()))
                .with_group_instance_id(member.profile.instance_id.as_deref().map(text))
                .with_client_id(text(member.profile.client_id.as_str()))
                .with_client_host(text(member.profile.client_host.as_str()))
                .with_member_metadata(member.profile.metadata(protocol))
                .with_member_assignment(member.assignment.clone())
        });
        response
            .with_group_state(text(group.state.name()))
            .with_protocol_type(text(group.protocol_type.as_str()))
            .with_protocol_data(text(protocol.unwrap_or_default()))
            .with_members(members.collect())
    };
    DescribeGroupsResponse::default().with_groups(asked.groups.into_iter().map(describe).collect())
}

pub(crate) fn delete(node: &Node, asked: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut groups = hold(&node.groups);
    let results = asked.groups_names.into_iter().map(|name| {
        let deleted = groups.delete(Instant::now(), &name);
        DeletableGroupResult::default().with_group_id(name).with_error_code(code(&deleted))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
