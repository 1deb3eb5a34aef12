// What serverless.yml cannot say by itself: what is given or else made, and an output for each source.
const given = (parameter, made) => async ({ resolveVariable }) => (await resolveVariable(`param:${parameter}`)) || made;

const clusterArn = given("cluster_arn", { "Fn::GetAtt": ["Cluster", "DBClusterArn"] });
const secretArn = given("secret_arn", { "Fn::GetAtt": ["Cluster", "MasterUserSecret.SecretArn"] });
const concurrency = given("concurrency", { Ref: "AWS::NoValue" });

// An output's name has letters and digits only, and none stands twice.
const title = (name) =>
  name
    .split(/[^a-z0-9]+/i)
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join("");

const named = (sources) => {
  const taken = new Set();
  for (const source of sources) {
    let name = `UrlOf${title(source)}`;
    for (let number = 2; taken.has(name); number++) name = `UrlOf${title(source)}${number}`;
    taken.add(name);
  }
  return [...taken];
};

const outputs = async (framework) => {
  const sources = Object.keys(JSON.parse(await framework.resolveVariable("env:WEBHOOKS_SOURCES, param:sources")));
  const names = named(sources);
  const urls = sources.map((name, number) => [
    names[number],
    {
      Description: `Where ${name} sends its webhooks`,
      Value: { "Fn::Sub": `https://\${HttpApi}.execute-api.\${AWS::Region}.\${AWS::URLSuffix}/webhooks/${name}` },
    },
  ]);
  return {
    ...Object.fromEntries(urls),
    ClusterArn: { Value: await clusterArn(framework) },
    SecretArn: { Value: await secretArn(framework) },
    Database: { Value: await framework.resolveVariable("param:database") },
    QueueUrl: { Value: { Ref: "Queue" } },
    QueueArn: { Value: { "Fn::GetAtt": ["Queue", "Arn"] } },
    DeadLettersArn: { Value: { "Fn::GetAtt": ["DeadLetters", "Arn"] } },
    AlertsArn: { Value: { Ref: "Alerts" } },
  };
};

module.exports = { clusterArn, secretArn, concurrency, outputs };
