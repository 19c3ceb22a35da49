import { z } from 'zod';
import {
  BYE_REASONS,
  CANCEL_REASONS,
  CONTROL_ACTIONS,
  FINISH_REASONS,
  KINDS,
  LOST_REASONS,
  MODEL_STATES,
  NODE_STATES,
  REJECT_CODES,
  RUNTIME_PHASES,
  TIERS,
  VERDICTS,
} from './codes.ts';
import { zAddress, zHex32, zModelRef, zSha256, zSignatureText, zUint } from './values.ts';

/** Payload schemas of docs/protocol.md §2–§5. Unknown fields are dropped, never merged into what is shown or stored. */

const text = (max: number) => z.string().max(max);
const jobKey = { jobId: text(128).min(1), attempt: zUint.max(0xffff_ffff) };

/** Which configuration: on a node the applied one. */
export const zConfigRef = z.object({ epoch: zUint, version: zUint, digest: zSha256 });
export type ConfigRef = z.infer<typeof zConfigRef>;
/** The network's answer may have none yet. */
const zNetworkConfig = zConfigRef.nullable();

export const zCapacity = z.object({ slots: zUint, queue: zUint });
const zJobRef = z.object(jobKey);
const zJobProgress = z.object({ ...jobKey, deltas: zUint });

export const zChallenge = z.object({
  serverNonce: zHex32,
  limits: z.object({ frameBytes: zUint.min(65_536).max(16_777_216) }),
  rootVersion: zUint,
});
export type Challenge = z.infer<typeof zChallenge>;

export const zHello = z.object({
  node: zAddress,
  clientNonce: zHex32,
  audience: text(262),
  bootId: text(128).min(1),
  incarnation: zUint,
  versions: z.object({ agent: text(64), runtime: text(64), protocol: z.array(text(16)).max(16) }),
  config: zConfigRef.extend({ pending: zConfigRef.nullish() }).nullable(),
  capacity: zCapacity,
  models: z.array(zModelRef).max(1024),
  jobs: z.array(z.object({ ...jobKey, state: z.enum(['running', 'result']), deltas: zUint })).max(1024),
});
export type Hello = z.infer<typeof zHello>;

export const zWelcome = z.object({
  sid: zHex32,
  serverTime: zUint,
  state: z.enum(NODE_STATES),
  protocol: z.array(text(16)).max(16),
  heartbeatMs: zUint.min(1),
  config: zNetworkConfig,
  jobs: z.array(zJobProgress),
});
export type Welcome = z.infer<typeof zWelcome>;

export const zHeartbeat = z.object({
  bootId: text(128).min(1),
  uptimeMs: zUint,
  versions: z.object({ agent: text(64), runtime: text(64) }),
  images: z.object({ agent: text(512), runtime: text(512) }).nullable(),
  config: zConfigRef.extend({ pending: zConfigRef.nullish(), restrictedBy: zConfigRef.nullish() }).nullable(),
  models: z
    .array(
      z.object({
        model: zModelRef,
        digest: zSha256,
        state: z.enum(MODEL_STATES),
        loaded: z.boolean(),
        reason: text(128).optional(),
      }),
    )
    .max(1024),
  hardware: z.object({
    gpus: z
      .array(
        z.object({
          name: text(128),
          memoryMiB: zUint,
          memoryUsedMiB: zUint.optional(),
          utilization: z.number().optional(),
          temperatureC: z.number().optional(),
        }),
      )
      .max(64),
    memoryMiB: zUint,
    memoryUsedMiB: zUint,
    disk: z.object({ totalMiB: zUint, freeMiB: zUint }),
  }),
  runtime: z.object({
    healthy: z.boolean(),
    phase: z.enum(RUNTIME_PHASES),
    running: zUint,
    waiting: zUint,
    tokensPerSecond: z.number().optional(),
  }),
  capacity: zCapacity,
  used: zUint,
  isolation: z.object({ tier: z.enum(TIERS), provedAt: zUint }),
  clockOffsetMs: z.number(),
  subclouds: z.array(text(64)).max(256),
  errors: z.array(text(64)).max(64),
});
export type Heartbeat = z.infer<typeof zHeartbeat>;

export const zJobOffer = z.object({
  ...jobKey,
  kind: z.enum(KINDS),
  model: zModelRef,
  modelDigest: zSha256,
  configDigest: zSha256,
  subcloud: text(64).optional(),
  stream: z.boolean(),
  priority: zUint.max(9),
  deadline: zUint,
  request: z.record(z.string(), z.unknown()),
});
export type JobOffer = z.infer<typeof zJobOffer>;

export const zJobAccept = zJobRef;
export const zJobReject = z.object({ ...jobKey, code: z.enum(REJECT_CODES), message: text(256).optional() });
export const zJobDelta = z.object({ ...jobKey, from: zUint, lines: z.array(z.string()).min(1) });
export const zJobProgressMessage = z.object({
  ...jobKey,
  phase: z.enum(['queued', 'prefill', 'decode']),
  tokens: zUint.optional(),
});
export const zJobLost = z.object({ ...jobKey, reason: z.enum(LOST_REASONS) });
export const zJobCancel = z.object({ ...jobKey, reason: z.enum(CANCEL_REASONS) });
export const zConfigNotice = z.object(zConfigRef.shape);
export const zConfigAck = zConfigRef.extend({
  state: z.enum(['restricted', 'applied', 'failed', 'held']),
  code: text(64).optional(),
  /** Of a failed or held one: where its plan ended. */
  step: text(32).optional(),
});
export type ConfigAck = z.infer<typeof zConfigAck>;
export const zControl = z.object({
  action: z.enum(CONTROL_ACTIONS),
  reason: text(256),
  graceMs: zUint.optional(),
  retryAfterMs: zUint.optional(),
});
export type Control = z.infer<typeof zControl>;
export const zErrorMessage = z.object({ code: text(64), message: text(256).optional() });
export const zBye = z.object({ reason: z.enum(BYE_REASONS), retryAfterMs: zUint.optional() });

export const zJobResultStruct = z.object({
  ...jobKey,
  node: zAddress,
  model: zModelRef,
  modelDigest: zSha256,
  configDigest: zSha256,
  requestHash: zSha256,
  outputHash: zSha256,
  promptTokens: zUint.max(0xffff_ffff),
  completionTokens: zUint.max(0xffff_ffff),
  finishReason: z.enum(FINISH_REASONS),
  finishedAt: zUint,
});
export type JobResultStruct = z.infer<typeof zJobResultStruct>;
export const zJobResult = z.object({ result: zJobResultStruct, sig: zSignatureText, output: z.string() });
export type JobResultMessage = z.infer<typeof zJobResult>;

export const zJobReceiptStruct = z.object({
  ...jobKey,
  node: zAddress,
  resultHash: zHex32,
  verdict: z.enum(VERDICTS),
  rootVersion: zUint,
  receivedAt: zUint,
});
export type JobReceiptStruct = z.infer<typeof zJobReceiptStruct>;
export const zJobReceipt = z.object({ receipt: zJobReceiptStruct, sig: zSignatureText, signer: zAddress });
export type JobReceiptMessage = z.infer<typeof zJobReceipt>;

/** One entry of `GET /v1/receipts/<jobId>`: a result and its receipt, enough to verify offline. */
export const zReceiptPair = z.object({
  result: zJobResultStruct,
  resultSig: zSignatureText,
  receipt: zJobReceiptStruct,
  sig: zSignatureText,
  signer: zAddress,
});
export type ReceiptPair = z.infer<typeof zReceiptPair>;
export const zReceipts = z.object({ jobId: text(128), receipts: z.array(zReceiptPair).max(64) });

export const zOwner = z.union([
  z.object({ wallet: zAddress }).strict(),
  z.object({ email: text(254).min(3) }).strict(),
]);
export type Owner = z.infer<typeof zOwner>;
export const zBind = z.object({ owner: zAddress, nonce: zHex32, expiresAt: zUint, sig: zSignatureText });
export type BindMessage = z.infer<typeof zBind>;

export const zRegister = z.object({
  node: zAddress,
  owner: zOwner,
  bind: zBind.optional(),
  enrolment: text(1024).optional(),
  metadata: z.object({
    agent: text(64),
    runtime: text(64),
    hardware: z.record(z.string(), z.unknown()),
    labels: z.record(z.string(), z.string()),
  }),
});
export type RegisterBody = z.infer<typeof zRegister>;

export const zSnapshotStruct = z.object({
  network: text(63),
  epoch: zUint,
  version: zUint,
  digest: zSha256,
  size: zUint,
  issuedAt: zUint,
  expiresAt: zUint,
  rootVersion: zUint,
  rollbackOf: zSha256.nullable(),
});
export type SnapshotStruct = z.infer<typeof zSnapshotStruct>;
export const zTicketStruct = z.object({
  network: text(63),
  epoch: zUint,
  version: zUint,
  digest: zSha256,
  issuedAt: zUint,
  expiresAt: zUint,
});
export type TicketStruct = z.infer<typeof zTicketStruct>;

/**
 * `GET /v1/config`. Signature entries stay unknown here: malformed ones do not count, but do not refuse the answer either
 * (§7), so the verifier judges them one by one.
 */
export const zConfigAnswer = z.object({
  snapshot: zSnapshotStruct,
  snapshotSignatures: z.array(z.unknown()),
  ticket: zTicketStruct,
  ticketSignatures: z.array(z.unknown()),
});
export type ConfigAnswer = z.infer<typeof zConfigAnswer>;

export const zRegisterAnswer = z.object({
  state: z.enum(NODE_STATES),
  ownerProved: z.boolean(),
  root: z.object({ version: zUint }),
  config: zConfigAnswer.nullable(),
});
export type RegisterAnswer = z.infer<typeof zRegisterAnswer>;

export const zHeartbeatAnswer = z.object({
  serverTime: zUint,
  config: zNetworkConfig,
  jobs: z.array(z.object({ ...jobKey, deltas: zUint.optional() })),
});

export const zNodeStatus = z.object({
  node: zAddress,
  state: z.enum(NODE_STATES),
  reasons: z.array(text(64)),
  floor: z.object({ epoch: zUint, version: zUint }),
  lastHeartbeatAgeMs: zUint.nullable(),
  incarnation: zUint,
});
export type NodeStatus = z.infer<typeof zNodeStatus>;

/** The error body of every HTTP answer. */
export const zHttpError = z.object({
  error: z.object({
    code: text(64),
    message: text(1024),
    retryable: z.boolean().optional(),
    retryAfterMs: zUint.optional(),
    serverTime: zUint.optional(),
    serverNonce: zHex32.optional(),
    lastN: zUint.optional(),
  }),
});
