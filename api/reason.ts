/**
 * The closed set of reasons. A condition, an event, a metric label, a log line and a test that talk
 * about the same thing use the same word from here, and no other.
 */

/** Why a node does, or does not, announce an address. */
export const NODE_REASONS = [
  "Announced",
  "LowerRank",
  "NoLocalReadyEndpoint",
  "ExcludedByLabel",
  "NetworkUnavailable",
  "NodeNotSelected",
  "DataPlaneNotReady",
  "NoUsableInterface",
  "NoCarrier",
  "InterfaceNotSelected",
  "SpeakerDead",
  "SpeakerMissing",
  "Draining",
  "Isolated",
  "ConfigurationNotRead",
  "PeerUnreachableButAnswering",
  "NotAnswering",
] as const;

/** Why a node does, or does not, announce an address. */
export type NodeReason = (typeof NODE_REASONS)[number];

/** What is the matter with an address on the LAN. */
export const ADDRESS_REASONS = ["Probing", "AddressConflict"] as const;

/** What is the matter with an address on the LAN. */
export type AddressReason = (typeof ADDRESS_REASONS)[number];

/** Why a Service has, or has not, an address that is announced. */
export const SERVICE_REASONS = [
  "Assigned",
  "Announced",
  "NoReadyEndpoint",
  "ClassMismatch",
  "NotLoadBalancer",
  "NoPool",
  "PoolExhausted",
  "AddressInUse",
  "AddressNotInPool",
  "FamilyMismatch",
  "SharingRefused",
  "PoolInvalid",
  "InvalidRequest",
  "Uninstalled",
] as const;

/** Why a Service has, or has not, an address that is announced. */
export type ServiceReason = (typeof SERVICE_REASONS)[number];

/** What is the matter with an object of ours or one under a name that we render. */
export const OBJECT_REASONS = [
  "Available",
  "Valid",
  "RollingOut",
  "RolloutStalled",
  "PodsNotReady",
  "RotatingKey",
  "Paused",
  "NothingFound",
  "ReconcileFailed",
  "ForeignObject",
  "WrongNamespace",
  "WrongName",
  "Invalid",
  "Overlapping",
  "UnsupportedProtocol",
  "AsWritten",
  "FormerForm",
  "NoEffect",
] as const;

/** What is the matter with an object of ours or one under a name that we render. */
export type ObjectReason = (typeof OBJECT_REASONS)[number];

/** What the operator found in the way before anybody runs into it. */
export const PREFLIGHT_REASONS = [
  "PodSecurityTooStrict",
  "OtherAnnouncer",
  "StrictARPOff",
  "AllNodesExcluded",
  "PoolOverlapsCluster",
  "PoolNotOnLink",
  "VirtualRouterHeard",
  "KubeProxyUnhealthy",
  "StrictReversePathFilter",
] as const;

/** What the operator found in the way before anybody runs into it. */
export type PreflightReason = (typeof PREFLIGHT_REASONS)[number];
