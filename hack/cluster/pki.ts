import '../../src/lib/reflect-metadata.ts';
import { webcrypto } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { writeFileWhole } from '../lib/index.ts';

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const YEAR_MS = 365 * 24 * 3600 * 1000;

/** Who a certificate is for: `organization` becomes the Kubernetes group. */
export interface Subject {
  readonly file: string;
  readonly name: string;
  readonly organization?: string;
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
}

const pem = (label: string, der: ArrayBuffer): string =>
  `-----BEGIN ${label}-----\n${(
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  ).join('\n')}\n-----END ${label}-----\n`;

async function writeKey(path: string, key: CryptoKey): Promise<void> {
  writeFileWhole(path, pem('PRIVATE KEY', await webcrypto.subtle.exportKey('pkcs8', key)), 0o600);
}

/**
 * Makes the cluster's authority, one certificate per subject (client and server use) and the service account key in
 * `dir`, as NAME.crt and NAME.key. Everything is made anew on each call: a cluster starts with an empty etcd anyway.
 */
export async function writePki(dir: string, subjects: readonly Subject[]): Promise<void> {
  x509.cryptoProvider.set(webcrypto as unknown as Crypto);
  const notBefore = new Date(Date.now() - 3600_000);
  const notAfter = new Date(Date.now() + YEAR_MS);
  const caKeys = await webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=resultity-dev-cluster',
    notBefore,
    notAfter,
    signingAlgorithm: EC,
    keys: caKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  writeFileWhole(join(dir, 'ca.crt'), `${ca.toString('pem')}\n`);
  await writeKey(join(dir, 'ca.key'), caKeys.privateKey);
  await Promise.all(
    subjects.map(async (subject, index) => {
      const keys = await webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);
      const names: x509.JsonGeneralNames = [
        ...(subject.dns ?? []).map((value) => ({ type: 'dns' as const, value })),
        ...(subject.ips ?? []).map((value) => ({ type: 'ip' as const, value })),
      ];
      const certificate = await x509.X509CertificateGenerator.create({
        serialNumber: (index + 2).toString(16).padStart(2, '0'),
        subject: new x509.Name([
          ...(subject.organization ? [{ O: [subject.organization] }] : []),
          { CN: [subject.name] },
        ]).toString(),
        issuer: ca.subject,
        notBefore,
        notAfter,
        signingAlgorithm: EC,
        publicKey: keys.publicKey,
        signingKey: caKeys.privateKey,
        extensions: [
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
          await x509.AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
          ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
        ],
      });
      writeFileWhole(join(dir, `${subject.file}.crt`), `${certificate.toString('pem')}\n`);
      await writeKey(join(dir, `${subject.file}.key`), keys.privateKey);
    }),
  );
  const account = await webcrypto.subtle.generateKey(
    { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    true,
    ['sign', 'verify'],
  );
  await writeKey(join(dir, 'sa.key'), account.privateKey);
  writeFileWhole(join(dir, 'sa.pub'), pem('PUBLIC KEY', await webcrypto.subtle.exportKey('spki', account.publicKey)));
}

/** A kubeconfig with everything inside it, so that it can be copied and read from any mount namespace. */
export function kubeconfigOf(dir: string, user: string, server: string, cluster: string): string {
  const data = (file: string) => {
    const path = join(dir, file);
    if (!existsSync(path)) throw new Error(`no ${file} in ${dir}`);
    return readFileSync(path).toString('base64');
  };
  return `apiVersion: v1
kind: Config
clusters:
- name: ${cluster}
  cluster:
    server: ${server}
    certificate-authority-data: ${data('ca.crt')}
users:
- name: ${user}
  user:
    client-certificate-data: ${data(`${user}.crt`)}
    client-key-data: ${data(`${user}.key`)}
contexts:
- name: ${cluster}
  context: { cluster: ${cluster}, user: ${user} }
current-context: ${cluster}
`;
}
