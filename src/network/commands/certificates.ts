import '../../lib/reflect-metadata.ts';
import { webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

export interface Certificates {
  readonly ca: string;
  readonly caKey: string;
  readonly cert: string;
  readonly key: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY = 86_400_000;
/** Clocks of freshly started machines lag. */
const BEFORE_MS = 600_000;

/** A certificate authority of the network's own, and a server certificate under it for these names and addresses. */
export const makeCertificates = async (
  network: string,
  names: readonly string[],
  now: number,
  days: number,
): Promise<Certificates> => {
  const crypto = webcrypto as unknown as Crypto;
  const caKeys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const serverKeys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const notBefore = new Date(now - BEFORE_MS);
  const notAfter = new Date(now + days * DAY);
  const caName = `CN=Resultity network ${network} CA`;
  const ca = await X509CertificateGenerator.create(
    {
      subject: caName,
      issuer: caName,
      notBefore,
      notAfter,
      serialNumber: serial(crypto),
      publicKey: caKeys.publicKey,
      signingKey: caKeys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(caKeys.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  const cert = await X509CertificateGenerator.create(
    {
      subject: `CN=${(names[0] ?? network).slice(0, 64)}`,
      issuer: ca.subject,
      notBefore,
      notAfter,
      serialNumber: serial(crypto),
      publicKey: serverKeys.publicKey,
      signingKey: caKeys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension(
          [...new Set(names)].map((value) => ({ type: isIP(value) ? 'ip' : 'dns', value }) as const),
        ),
      ],
    },
    crypto,
  );
  return {
    ca: pem(ca),
    caKey: await keyPem(crypto, caKeys.privateKey),
    cert: pem(cert),
    key: await keyPem(crypto, serverKeys.privateKey),
  };
};

const pem = (certificate: X509Certificate): string => `${certificate.toString('pem').trim()}\n`;
const keyPem = async (crypto: Crypto, key: CryptoKey): Promise<string> =>
  `${PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY').trim()}\n`;
/** 127 random bits, positive. */
const serial = (crypto: Crypto): string => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
};
