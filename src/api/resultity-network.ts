import type {
  Conditions,
  DataKey,
  Int32,
  Int64,
  LocalObjectReference,
  ObjectMeta,
  ObjectName,
  Timestamp,
} from './meta.ts';
import type { PullSecrets } from './pod.ts';
import type { Rollout } from './rollout.ts';
import type { Digest, Environment, NetworkName } from './values.ts';

/**
 * A network: where it is, which root is trusted, how far its updates may go.
 * @resource plural=resultitynetworks singular=resultitynetwork shortName=rnet category=resultity
 * @column Ready .status.conditions[?(@.type=="Ready")].status
 * @column Version .status.version type=integer
 * @column Digest .status.shortDigest
 * @column Root .status.root.version type=integer
 * @column Held .status.held.reason
 * @column Age .metadata.creationTimestamp type=date
 * @column Reason .status.conditions[?(@.type=="Ready")].reason wide
 * @column Endpoint .spec.endpoint wide
 */
export interface ResultityNetwork {
  apiVersion: 'resultity.com/v1alpha1';
  kind: 'ResultityNetwork';
  metadata: ObjectMeta;
  /** @requiredMessage write at least endpoint and trust */
  spec: ResultityNetworkSpec;
  status?: ResultityNetworkStatus;
}

/**
 * What the network is.
 * @rule !has(self.endpoint) || !self.endpoint.startsWith('http://') || !isURL(self.endpoint) || (has(self.tls) && has(self.tls.allowInsecureHosts) && url(self.endpoint).getHostname() in self.tls.allowInsecureHosts)
 *   fieldPath: .endpoint
 *   message: is plain http; write https://, or name the host in tls.allowInsecureHosts (loopback and cluster-internal hosts only)
 * @rule has(self.environment) == has(oldSelf.environment) && (!has(self.environment) || self.environment == oldSelf.environment)
 *   fieldPath: .environment
 *   message: cannot be changed, for testnet and mainnet never mix; make another ResultityNetwork
 */
export interface ResultityNetworkSpec {
  /**
   * The base address of the network's service.
   * @requiredMessage write the network's base address, for example https://io.network.resultity.com
   * @maxLength 512
   * @rule isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery() == {} && !self.contains('#') && !self.contains('@')
   *   messageExpression: '"' + self + '" is not a base address; write scheme, host and port only, for example https://io.network.resultity.com'
   *   message: is not a base address; write scheme, host and port only, for example https://io.network.resultity.com
   */
  endpoint: string;
  /** testnet or mainnet; a root of the other one is then refused. The root's own when left out. */
  environment?: Environment;
  /**
   * The pinned root, from which all trust starts.
   * @requiredMessage give exactly one of rootConfigMap or root; the network publishes its pinned root
   */
  trust: Trust;
  registration?: Registration;
  images?: Images;
  sources?: Sources;
  tls?: Tls;
  /**
   * Automatic follows signed image updates inside images.allowedRepositories; Manual waits for the annotation
   * resultity.com/approve-digest.
   * @default "Automatic"
   */
  updates: 'Automatic' | 'Manual';
  /**
   * For single nodes; a ResultityFleet has its own.
   * @default {}
   */
  rollout: Rollout;
}

/**
 * The pinned root in the form of GET /v1/roots/n.
 * @rule has(self.rootConfigMap) != has(self.root)
 *   message: give exactly one of rootConfigMap or root
 */
export interface Trust {
  /** A ConfigMap of the same namespace that holds it. */
  rootConfigMap?: RootConfigMap;
  /**
   * The text itself.
   * @maxLength 65536
   * @rule self.startsWith('{')
   *   message: is not a root; paste the JSON of GET /v1/roots/<n>, which begins with {"document"
   */
  root?: string;
}

/** A key of a ConfigMap with the pinned root. */
export interface RootConfigMap {
  name: ObjectName;
  /** @default "root.json" */
  key: DataKey;
}

/** How nodes register. */
export interface Registration {
  /** The enrolment token that the network gave to the owner. */
  enrolmentSecretRef?: EnrolmentSecretReference;
}

/** A key of a Secret with an enrolment token. */
export interface EnrolmentSecretReference {
  name: ObjectName;
  /** @default "token" */
  key: DataKey;
}

/** Which images may run, and from where they are pulled. */
export interface Images {
  /**
   * Repositories, without tag, that the network's snapshots may name; any when left out. What is pulled has to lie in the
   * chart's operator.allowedRepositories besides.
   * @maxItems 64
   * @listType set
   */
  allowedRepositories?: Repository[];
  /**
   * Repositories that are pulled from elsewhere, first match first.
   * @maxItems 32
   * @listType map
   * @listMapKey from
   */
  mirrors?: ImageMirror[];
  pullSecrets?: PullSecrets;
}

/**
 * A repository of images, without tag and digest.
 * @minLength 1
 * @maxLength 255
 * @rule self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$')
 *   messageExpression: '"' + self + '" is not a repository; write host and path without tag, for example registry.example.com/resultity/agent'
 *   message: is not a repository; write host and path without tag, for example registry.example.com/resultity/agent
 */
export type Repository = string;

/** Images of one repository pulled from another. */
export interface ImageMirror {
  from: Repository;
  to: Repository;
}

/** Where model files come from. */
export interface Sources {
  /**
   * Hosts of the snapshot's sources that are replaced; nothing but the check of trustedSources is relaxed by it.
   * @maxItems 32
   * @listType map
   * @listMapKey from
   */
  mirrors?: SourceMirror[];
  /** A Secret with one key per host: `user:password`, or a bearer token. */
  credentialsSecretRef?: LocalObjectReference;
  /**
   * Limit of each node's downloads of models, all of them together; none when left out. A change replaces the pods.
   * @minimum 1
   * @maximum 1000000
   */
  maxMiBPerSecond?: Int32;
}

/**
 * A host with its port.
 * @minLength 1
 * @maxLength 261
 * @rule self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?|[[][0-9a-f:]+[]])(:[0-9]{1,5})?$')
 *   messageExpression: '"' + self + '" is not a host; write host or host:port, for example models.example.com'
 *   message: is not a host; write host or host:port, for example models.example.com
 */
export type HostPort = string;

/** One host in place of another. */
export interface SourceMirror {
  from: HostPort;
  to: HostPort;
}

/** How connections are made. */
export interface Tls {
  /** More certificate authorities than the system's. */
  caBundle?: CaBundle;
  /**
   * An HTTP proxy for the way to the network and to the sources.
   * @maxLength 512
   * @rule isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != ''
   *   message: is not a proxy; write for example http://proxy.example.com:3128
   */
  proxy?: string;
  /**
   * Hosts to which plain http is allowed.
   * @maxItems 16
   * @listType set
   */
  allowInsecureHosts?: InsecureHost[];
}

/**
 * A loopback or cluster-internal host.
 * @minLength 1
 * @maxLength 253
 * @rule self.matches('^(localhost|127([.][0-9]{1,3}){3}|::1|[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)?[.]svc([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*|[a-z]([-a-z0-9]*[a-z0-9])?)$')
 *   messageExpression: '"' + self + '" is neither loopback nor cluster-internal; write for example localhost or resultity-network.network.svc'
 *   message: is neither loopback nor cluster-internal; write for example localhost or resultity-network.network.svc
 */
export type InsecureHost = string;

/**
 * Certificates in PEM.
 * @rule has(self.configMap) != has(self.inline)
 *   message: give exactly one of configMap or inline
 */
export interface CaBundle {
  configMap?: CaConfigMap;
  /**
   * @maxLength 131072
   * @rule self.contains('-----BEGIN CERTIFICATE-----')
   *   message: is not PEM; paste text that holds -----BEGIN CERTIFICATE-----
   */
  inline?: string;
}

/** A key of a ConfigMap with certificates in PEM. */
export interface CaConfigMap {
  name: ObjectName;
  /** @default "ca.crt" */
  key: DataKey;
}

/** What the operator has verified. Epoch, version and digest are the operator's floor: written before they are used. */
export interface ResultityNetworkStatus {
  conditions?: Conditions;
  observedGeneration?: Int64;
  /** The network's own name, from its root. */
  network?: NetworkName;
  environment?: Environment;
  chainId?: Int64;
  /** The newest root that the chain led to. */
  root?: RootStatus;
  epoch?: Int64;
  version?: Int64;
  digest?: Digest;
  /**
   * The first 12 hex digits of digest.
   * @maxLength 12
   */
  shortDigest?: string;
  /** When the accepted snapshot expires. */
  expiresAt?: Timestamp;
  /** How old the last fresh ticket is: Fresh within its life, Stale after it, Expired beyond maxStalenessSeconds. */
  ticketAge?: 'Fresh' | 'Stale' | 'Expired';
  /** Set while updates do not go on. */
  held?: HeldStatus;
  /**
   * The ConfigMap with the verified chain, signatures and snapshot.
   * @maxLength 253
   */
  configMapName?: string;
}

/** A verified root. */
export interface RootStatus {
  version: Int64;
  epoch?: Int64;
  expiresAt?: Timestamp;
}

/** Why updates do not go on. */
export interface HeldStatus {
  /** @maxLength 64 */
  reason: string;
  /** The snapshot that waits. */
  digest?: Digest;
  since?: Timestamp;
  /**
   * How many nodes are held.
   * @minimum 0
   */
  nodes?: Int32;
}
