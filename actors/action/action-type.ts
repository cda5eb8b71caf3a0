/** flyteidl2.workflow.ActionType by name. */
export const ActionType = { task: 1, trace: 2, condition: 3 } as const;
